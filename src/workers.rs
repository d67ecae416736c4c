//! The workers of a rank: stochastic directions, checked.

use crate::problems::{Draw, Losses, Problem};
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, all_finite};

/// A worker cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WorkerError {
    #[error(
        "the direction of {} is not finite: the iterates diverge; lower the algorithm's step sizes, \
         or set its clip radius rho if it has one", block.name()
    )]
    NotFinite { block: Block },
}

/// The hosted workers of a problem.
pub struct Workers<F> {
    problem: Box<dyn Problem<F>>,
}

impl<F: Scalar> Workers<F> {
    /// The workers that `problem` hosts.
    pub fn new(problem: Box<dyn Problem<F>>) -> Self {
        Self { problem }
    }

    /// Those of worker `draw.worker`'s (D_x, D_y, D_z) at `at` that are wanted, from fresh samples,
    /// written over `out`.
    pub fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Result<Losses, WorkerError> {
        let losses = self.problem.directions(draw, wanted, at, out);
        match wanted.iter().find(|&block| !all_finite(out.block(block))) {
            Some(block) => Err(WorkerError::NotFinite { block }),
            None => Ok(losses),
        }
    }

    /// Worker `draw.worker`'s grad_x G_i at `at` [p], written over `out`.
    pub fn lower_gradient_x(
        &mut self,
        draw: Draw,
        at: &Vars<F>,
        out: &mut [F],
    ) -> Result<(), WorkerError> {
        self.problem.lower_gradient_x(draw, at, out);
        match all_finite(out) {
            true => Ok(()),
            false => Err(WorkerError::NotFinite { block: Block::X }),
        }
    }

    /// The problem behind the workers, for evaluations.
    pub fn problem(&mut self) -> &mut dyn Problem<F> {
        &mut *self.problem
    }
}
