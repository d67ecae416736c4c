//! DIANA (Mishchenko, Gorbunov, Takac, Richtarik 2019): the memories of `memory.rs` at a rate of the
//! user's choice, with an unbiased C; its guarantee holds up to the default 1/(1 + omega).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::memory::Memories;
use super::{Feedback, FeedbackContext, FeedbackFacts, FeedbackKind, Needs};
use crate::compressors::Bound;
use crate::config::Ratio;
use crate::registry::Kind;
use crate::scalar::Scalar;

/// DIANA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Diana {
    /// Rate at which memories follow; left out: 1/(1 + omega) of each variable's compressor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eta: Option<Ratio>,
}

impl Kind for Diana {
    const KIND: &'static str = "diana";
    const SUMMARY: &'static str = "memories at a chosen rate, for unbiased compressors";
    const SOURCE: &'static str = "Mishchenko, Gorbunov, Takac, Richtarik 2019";
}

impl FeedbackKind for Diana {
    const FACTS: FeedbackFacts = Needs::Unbiased.facts();

    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>> {
        let rate = |bound: Bound| self.eta.map_or(bound.contraction(), Ratio::get);
        let rates = context.bounds.map(rate);
        Box::new(Memories::<F>::new(&context, rates))
    }
}
