//! SOBA, distributed and uncompressed: the baseline (Dagreou, Ablin, Vaiter, Moreau: A framework for
//! bilevel optimization that enables stochastic and global variance reduction algorithms, NeurIPS
//! 2022). It is C-SOBA with C(v) = v; see `c_soba.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::c_soba::CSoba;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::config::Positive;
use crate::registry::Kind;
use crate::scalar::Scalar;

/// Parameters of SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soba {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<Positive>,
}

impl Kind for Soba {
    const KIND: &'static str = "soba";
    const SUMMARY: &'static str = "uncompressed single-loop bilevel descent, the baseline";
    const SOURCE: &'static str = "Dagreou et al., NeurIPS 2022";
}

impl AlgorithmKind for Soba {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: false,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        let Self { alpha, beta, gamma, rho } = *self;
        CSoba { alpha, beta, gamma, rho }.build(context)
    }
}
