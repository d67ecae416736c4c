//! D-SOBA, first order (Kong, Zhu, Lu, Huang, Yuan: Decentralized bilevel optimization, JMLR 2025): D-SOBA
//! (`d_soba.rs`) without second derivatives.
//!
//! ```text
//! H_yy G z ~ [grad_y G(x, y + d z) - grad_y G(x, y - d z)] / (2 d)       d = epsilon / |z|, the same sample
//! J_xy G z ~ [grad_x G(x, y + d z) - grad_x G(x, y - d z)] / (2 d)
//! ```
//!
//! Our choices, where the published listing may differ: the difference is central, taken at the agent's
//! own old point, and the average h is not gossiped. Derivatives of F alone are those of a worker's
//! directions at z = 0. Where z = 0 both products are 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::d_soba::{Decay, State, Steps};
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::config::{Positive, Ratio};
use crate::problems::{Draw, Losses};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, add_scaled, norm};
use crate::workers::{WorkerError, Workers};

/// Parameters of first-order D-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DSobaFo {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Weight of the newest direction in the moving average.
    #[serde(default = "one")]
    theta: Ratio,
    /// How the step sizes change.
    #[serde(default)]
    decay: Decay,
    /// Length of the step in y of the finite differences.
    #[serde(default = "thousandth")]
    epsilon: Positive,
}

fn one() -> Ratio {
    Ratio::constant(1.0)
}

fn thousandth() -> Positive {
    Positive::constant(1e-3)
}

impl Kind for DSobaFo {
    const KIND: &'static str = "d-soba-fo";
    const SUMMARY: &'static str =
        "D-SOBA with finite differences of gradients for second derivatives";
    const SOURCE: &'static str = "Kong et al., JMLR 2025";
}

impl AlgorithmKind for DSobaFo {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: true,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<'_, F>) -> Box<dyn Algorithm<F>> {
        let Self { alpha, beta, gamma, theta, decay, epsilon } = *self;
        let dims = context.start.dims();
        let differences = Differences {
            epsilon: epsilon.get(),
            at: Vars::zeros(dims),
            gradients: Vars::zeros(dims),
        };
        let steps = Steps { alpha, beta, gamma, theta, decay };
        Box::new(State::new(steps, Some(differences), context))
    }
}

/// Second derivatives by finite differences.
pub(super) struct Differences<F> {
    epsilon: f64,
    /// (x, y +- d z, 0).
    at: Vars<F>,
    /// grad_x G and grad_y G there.
    gradients: Vars<F>,
}

impl<F: Scalar> Differences<F> {
    /// D_x, D_y and D_z at v, written over `d`.
    pub fn directions(
        &mut self,
        draw: Draw,
        workers: &mut Workers<F>,
        v: &Vars<F>,
        d: &mut Vars<F>,
    ) -> Result<Losses, WorkerError> {
        let Self { epsilon, at, gradients } = self;
        at.as_mut_slice().copy_from_slice(v.as_slice());
        at.block_mut(Block::Z).fill(F::zero());
        let losses = workers.directions(draw, Blocks::ALL, at, d)?;
        let length = norm(v.z());
        if length == 0.0 {
            return Ok(losses);
        }
        let step = *epsilon / length;
        for sign in [1.0, -1.0] {
            let y = at.block_mut(Block::Y);
            y.copy_from_slice(v.y());
            add_scaled(y, F::lit(sign * step), v.z());
            workers.directions(draw, Blocks::of(&[Block::Y]), at, gradients)?;
            workers.lower_gradient_x(draw, at, gradients.block_mut(Block::X))?;
            let scale = F::lit(sign / (2.0 * step));
            add_scaled(d.block_mut(Block::X), scale, gradients.x());
            add_scaled(d.block_mut(Block::Z), scale, gradients.y());
        }
        Ok(losses)
    }
}
