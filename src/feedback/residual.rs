//! Residual feedback, EF14 (Seide et al., Interspeech 2014; Stich, Cordonnier, Jaggi, NeurIPS 2018):
//! what was not sent is added to the next direction.
//!
//! ```text
//! worker i:  E_i += D_i;  c_i = C(E_i);  E_i -= c_i;  sends c_i          E_i = 0 at the start
//! server:    D^ = mean_i c_i
//! ```
//!
//! With a constant step size s this is the classic form, which carries s E_i: v+ = v - s mean_i c_i.
//! An unbiased C is sent as C / (1 + omega), so that it contracts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs, PerWorker, Sent};
use crate::archive::{Archive, Holder};
use crate::packet::DecodeError;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, add_scaled};

/// Residual feedback.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Residual {}

impl Kind for Residual {
    const KIND: &'static str = "residual";
    const SUMMARY: &'static str = "EF14: what was not sent is added to the next direction";
    const SOURCE: &'static str = "Seide et al. 2014; Stich, Cordonnier, Jaggi, NeurIPS 2018";
}

impl FeedbackKind for Residual {
    const FACTS: FeedbackFacts = Needs::Contraction.facts();

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        let numbers = context.dims.total();
        Box::new(State { residuals: PerWorker::zeros(&context), numbers })
    }
}

struct State<F> {
    /// E_i of the hosted workers.
    residuals: PerWorker<F>,
    numbers: usize,
}

impl<F: Scalar> Feedback<F> for State<F> {
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]) {
        let residual = self.residuals.of_mut(worker, block);
        add_scaled(residual, F::one(), v);
        v.copy_from_slice(residual);
    }

    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        _v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        match sent {
            Some(sent) => sent(-F::one(), self.residuals.of_mut(worker, block)),
            Option::None => Ok(()),
        }
    }

    fn estimate(&mut self, _block: Block, _mean: &mut [F]) {}

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.residuals.state(of, archive);
    }

    fn numbers(&self) -> [usize; 2] {
        [self.numbers, 0]
    }
}
