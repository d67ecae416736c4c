//! A round: one exchange between the server and the workers.

use crate::problems::Draw;
use crate::vars::Blocks;

/// One exchange of some of the variables: the workers' vectors go up, the server's iterate comes down.
///
/// An iteration is one round of all variables, `Round::from(k)`, or several. Their mini-batches are
/// numbered within the iteration. A variable that is sent in several rounds needs another lower-level
/// number in each: random compressors and the places of sparse directions draw by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub(super) iteration: u64,
    pub(super) lower: u32,
    upper: u32,
    blocks: Blocks,
}

impl From<u64> for Round {
    /// The only round of an iteration.
    fn from(iteration: u64) -> Self {
        Self::of(iteration, Blocks::ALL)
    }
}

impl Round {
    /// A round of these variables on the iteration's first mini-batches.
    pub fn of(iteration: u64, blocks: Blocks) -> Self {
        Self { iteration, lower: 0, upper: 0, blocks }
    }

    /// The same on another of the iteration's lower-level mini-batches.
    pub fn lower(self, number: usize) -> Self {
        // A key's numbers have 32 bits; more rounds than that are never made.
        Self { lower: number as u32, ..self }
    }

    /// The same on another of the iteration's upper-level mini-batches.
    pub fn upper(self, number: usize) -> Self {
        Self { upper: number as u32, ..self }
    }

    /// The variables that travel.
    pub fn blocks(self) -> Blocks {
        self.blocks
    }

    /// The coordinates of a worker's draws.
    pub(super) fn draw(self, seed: u64, worker: usize) -> Draw {
        let Self { iteration, lower, upper, .. } = self;
        Draw { seed, worker, iteration, lower, upper }
    }
}
