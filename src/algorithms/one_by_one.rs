//! What methods with inner loops share: they move one variable a round.

use crate::archive::{Archive, Holder};
use crate::config::Count;
use crate::net::{Net, NetError, Round};
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, add_scaled};
use crate::workers::Workers;

/// What travels in a round of x alone.
pub(super) const X: Blocks = Blocks::of(&[Block::X]);
/// As [`X`].
pub(super) const Y: Blocks = Blocks::of(&[Block::Y]);
/// As [`X`].
pub(super) const Z: Blocks = Blocks::of(&[Block::Z]);

/// The default length of inner loops.
pub(super) fn ten_steps() -> Count {
    Count::constant(10.0)
}

/// (x, y, z) at the server and as the workers hold it.
pub(super) struct OneByOne<F> {
    /// At the server.
    pub server: Vars<F>,
    /// As the workers hold it.
    pub v: Vars<F>,
}

impl<F: Scalar> OneByOne<F> {
    /// Where a run starts, known to all.
    pub fn new(start: Vars<F>) -> Self {
        Self { v: start.clone(), server: start }
    }

    /// v+ = v - step mean_i D_v,i for the round's variable v, and `project(v+)`. The workers send D_v,i
    /// and get v+.
    pub fn descend(
        &mut self,
        round: Round,
        step: F,
        project: impl Fn(&mut [F]),
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { server, v } = self;
        let moved = round.blocks();
        let directions = |draw, d: &mut _| workers.directions(draw, moved, v, d);
        if let Some(d) = net.mean_at_server(round, directions)? {
            for block in moved.iter() {
                add_scaled(server.block_mut(block), -step, d.block(block));
                project(server.block_mut(block));
            }
        }
        net.publish(round, server, v)
    }

    /// Shows both to `archive`.
    pub fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        if of == Holder::Server {
            archive.vector(self.server.as_mut_slice());
            archive.vector(self.v.as_mut_slice());
        }
    }
}
