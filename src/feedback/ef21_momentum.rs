//! EF21-SGDM (Fatkhullin, Tyurin, Richtarik, NeurIPS 2023): EF21 on a moving average that each worker
//! takes of its own directions, which tames their noise before it is compressed.
//!
//! ```text
//! worker i:  v_i = (1 - eta) v_i + eta D_i;  c_i = C(v_i - m_i);  m_i += c_i;  sends c_i
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
use crate::vars::{Block, average_in};

/// EF21 with worker momentum on all three variables.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ef21Momentum {
    /// Weight of the newest direction in a worker's moving average.
    #[serde(default = "default_eta")]
    eta: Ratio,
}

fn default_eta() -> Ratio {
    Ratio::constant(0.1)
}

impl Kind for Ef21Momentum {
    const KIND: &'static str = "ef21-momentum";
    const SUMMARY: &'static str = "EF21 on a moving average of each worker's directions";
    const SOURCE: &'static str = "Fatkhullin, Tyurin, Richtarik, NeurIPS 2023";
}

impl FeedbackKind for Ef21Momentum {
    const FACTS: FeedbackFacts = FeedbackFacts { needs: Needs::Contraction, averages: true };

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        Box::new(State {
            eta: F::lit(self.eta.get()),
            averages: PerWorker::zeros(&context),
            memories: Memories::new(&context, [1.0; 3]),
        })
    }
}

struct State<F> {
    eta: F,
    /// v_i of the hosted workers.
    averages: PerWorker<F>,
    memories: Memories<F>,
}

impl<F: Scalar> Feedback<F> for State<F> {
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]) {
        let average = self.averages.of_mut(worker, block);
        average_in(average, self.eta, v);
        v.copy_from_slice(average);
        self.memories.target(worker, block, v);
    }

    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        self.memories.follow(worker, block, v, sent)
    }

    fn estimate(&mut self, block: Block, mean: &mut [F]) {
        self.memories.estimate(block, mean);
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.averages.state(of, archive);
        self.memories.state(of, archive);
    }

    fn numbers(&self) -> [usize; 2] {
        let [worker, server] = Feedback::<F>::numbers(&self.memories);
        [2 * worker, server]
    }
}
