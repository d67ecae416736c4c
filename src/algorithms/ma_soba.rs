//! MA-SOBA, distributed and uncompressed (Chen, Xiao, Balasubramanian: Optimal algorithms for
//! stochastic bilevel optimization under relaxed smoothness conditions, JMLR 2024). It is CM-SOBA with
//! C(v) = v; see `cm_soba.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cm_soba::CmSoba;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::config::{Positive, Ratio};
use crate::registry::Kind;
use crate::scalar::Scalar;

/// Parameters of MA-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaSoba {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Weight of the newest direction in the moving average.
    theta: Ratio,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<Positive>,
}

impl Kind for MaSoba {
    const KIND: &'static str = "ma-soba";
    const SUMMARY: &'static str = "SOBA with a moving average of the hypergradient, uncompressed";
    const SOURCE: &'static str = "Chen et al., JMLR 2024";
}

impl AlgorithmKind for MaSoba {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: false,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        let Self { alpha, beta, gamma, theta, rho } = *self;
        CmSoba { alpha, beta, gamma, theta, rho }.build(context)
    }
}
