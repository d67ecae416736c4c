//! EF21 (Richtarik, Sokolov, Fatkhullin, NeurIPS 2021): the memories of `memory.rs` at rate 1, with a
//! contraction; an unbiased C is sent as C / (1 + omega).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::memory::Memories;
use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs};
use crate::registry::Kind;
use crate::scalar::Scalar;

/// EF21.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ef21 {}

impl Kind for Ef21 {
    const KIND: &'static str = "ef21";
    const SUMMARY: &'static str = "memories at rate 1, an unbiased compressor scaled to contract";
    const SOURCE: &'static str = "Richtarik, Sokolov, Fatkhullin, NeurIPS 2021";
}

impl FeedbackKind for Ef21 {
    const FACTS: FeedbackFacts = Needs::Contraction.facts();

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        Box::new(Memories::<F>::new(&context, [1.0; 3]))
    }
}
