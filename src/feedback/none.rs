//! No feedback: v_i = D_i and D^ = mean_i c_i.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs, Sent};
use crate::archive::{Archive, Holder};
use crate::packet::DecodeError;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::Block;

/// No feedback.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct None {}

impl Kind for None {
    const KIND: &'static str = "none";
    const SUMMARY: &'static str = "what compression loses is lost; for unbiased compressors";
    const SOURCE: &'static str = "-";
}

impl FeedbackKind for None {
    const FACTS: FeedbackFacts = Needs::Open.facts();

    fn build<F: Scalar>(&self, _context: FeedbackContext) -> Box<dyn Feedback<F>> {
        Box::new(*self)
    }
}

impl<F: Scalar> Feedback<F> for None {
    fn target(&mut self, _worker: usize, _block: Block, _v: &mut [F]) {}

    fn follow(
        &mut self,
        _worker: usize,
        _block: Block,
        _v: &[F],
        _sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        Ok(())
    }

    fn estimate(&mut self, _block: Block, _mean: &mut [F]) {}

    fn state(&mut self, _of: Holder, _archive: &mut Archive<'_>) {}

    fn numbers(&self) -> [usize; 2] {
        [0, 0]
    }
}
