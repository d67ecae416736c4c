//! EControl (Gao, Islamov, Stich, ICLR 2024): EF21's memories, and a residual that is fed back at a
//! small rate eta.
//!
//! ```text
//! worker i:  c_i = C(eta E_i + D_i - m_i);  E_i += D_i - m_i - c_i;  m_i += c_i;  sends c_i
//! server:    m += mean_i c_i;  D^ = m                            all zero at the start
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::memory::Memories;
use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs, PerWorker, Sent};
use crate::archive::{Archive, Holder};
use crate::config::Ratio;
use crate::packet::DecodeError;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::Block;

/// EControl.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EControl {
    /// Rate at which the residual is fed back.
    #[serde(default = "default_eta")]
    eta: Ratio,
}

fn default_eta() -> Ratio {
    Ratio::constant(0.1)
}

impl Kind for EControl {
    const KIND: &'static str = "econtrol";
    const SUMMARY: &'static str = "EF21's memories and a residual fed back at a small rate";
    const SOURCE: &'static str = "Gao, Islamov, Stich, ICLR 2024";
}

impl FeedbackKind for EControl {
    const FACTS: FeedbackFacts = Needs::Contraction.facts();

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        Box::new(State {
            eta: F::lit(self.eta.get()),
            residuals: PerWorker::zeros(&context),
            memories: Memories::new(&context, [1.0; 3]),
        })
    }
}

struct State<F> {
    eta: F,
    /// E_i of the hosted workers.
    residuals: PerWorker<F>,
    memories: Memories<F>,
}

impl<F: Scalar> Feedback<F> for State<F> {
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]) {
        self.memories.target(worker, block, v);
        let residual = self.residuals.of_mut(worker, block);
        for (residual, v) in residual.iter_mut().zip(v) {
            // E_i += D_i - m_i, of which `follow` takes c_i off; v_i has the E_i before.
            let difference = *v;
            *v = difference + self.eta * *residual;
            *residual += difference;
        }
    }

    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        let Some(sent) = sent else { return Ok(()) };
        sent(-F::one(), self.residuals.of_mut(worker, block))?;
        self.memories.follow(worker, block, v, Some(sent))
    }

    fn estimate(&mut self, block: Block, mean: &mut [F]) {
        self.memories.estimate(block, mean);
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.residuals.state(of, archive);
        self.memories.state(of, archive);
    }

    fn numbers(&self) -> [usize; 2] {
        let [worker, server] = Feedback::<F>::numbers(&self.memories);
        [2 * worker, server]
    }
}
