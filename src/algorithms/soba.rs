//! SOBA, distributed and uncompressed: the baseline (Dagreou, Ablin, Vaiter, Moreau: A framework for
//! bilevel optimization that enables stochastic and global variance reduction algorithms, NeurIPS
//! 2022). It is C-SOBA with C(v) = v; see `c_soba.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::c_soba::CSoba;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::registry::Kind;
use crate::scalar::Scalar;

/// Parameters of SOBA: those of C-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Soba(CSoba);

impl Kind for Soba {
    const KIND: &'static str = "soba";
    const SUMMARY: &'static str = "uncompressed single-loop bilevel descent, the baseline";
    const SOURCE: &'static str = "Dagreou et al., NeurIPS 2022";
}

impl AlgorithmKind for Soba {
    const FACTS: AlgorithmFacts =
        AlgorithmFacts { compressed: false, feedback: &["none"], auxiliary: true };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        self.0.build(context)
    }
}
