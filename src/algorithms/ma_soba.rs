//! MA-SOBA, distributed and uncompressed (Chen, Xiao, Balasubramanian: Optimal algorithms for
//! stochastic bilevel optimization under relaxed smoothness conditions, JMLR 2024). It is CM-SOBA with
//! C(v) = v; see `cm_soba.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cm_soba::CmSoba;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::registry::Kind;
use crate::scalar::Scalar;

/// Parameters of MA-SOBA: those of CM-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MaSoba(CmSoba);

impl Kind for MaSoba {
    const KIND: &'static str = "ma-soba";
    const SUMMARY: &'static str = "SOBA with a moving average of the hypergradient, uncompressed";
    const SOURCE: &'static str = "Chen et al., JMLR 2024";
}

impl AlgorithmKind for MaSoba {
    const FACTS: AlgorithmFacts =
        AlgorithmFacts { compressed: false, feedback: &["none"], auxiliary: true };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        self.0.build(context)
    }
}
