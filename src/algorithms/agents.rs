//! The iterates of agents without a server, one for each hosted agent.

use std::ops::Range;

use crate::archive::{Archive, Holder};
use crate::net::{Net, NetError, Round};
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Blocks, Vars};
use crate::workers::WorkerError;

/// What all methods keep of the hosted agents.
pub(super) struct Agents<F> {
    /// The hosted agents.
    pub hosted: Range<usize>,
    /// (x, y, z) of each.
    pub v: Vec<Vars<F>>,
    /// Its directions at its own point.
    pub d: Vec<Vars<F>>,
    /// Their mean as it was last shown.
    pub mean: Vars<F>,
}

impl<F: Scalar> Agents<F> {
    /// All agents at `start`.
    pub fn new(hosted: Range<usize>, start: Vars<F>) -> Self {
        Self {
            v: vec![start.clone(); hosted.len()],
            d: vec![Vars::zeros(start.dims()); hosted.len()],
            mean: start,
            hosted,
        }
    }

    /// The hosted agents with their places.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<F> {
        self.hosted.clone().enumerate()
    }

    /// d = those of (D_x, D_y, D_z) that are wanted, of each agent at its own point by `oracle`, weighted
    /// where the config has it so.
    pub fn directions(
        &mut self,
        k: u64,
        wanted: Blocks,
        net: &mut Net<'_, F>,
        oracle: impl FnMut(Draw, &Vars<F>, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) {
        net.compute(Round::of(k, wanted), self.at_own_points(oracle));
        self.weigh(wanted, net);
    }

    /// The same while what was put travels.
    pub fn swap_and_directions(
        &mut self,
        k: u64,
        wanted: Blocks,
        net: &mut Net<'_, F>,
        oracle: impl FnMut(Draw, &Vars<F>, &mut Vars<F>) -> Result<Losses, WorkerError> + Send,
    ) -> Result<(), NetError> {
        net.swap_and_compute(Round::of(k, wanted), self.at_own_points(oracle))?;
        self.weigh(wanted, net);
        Ok(())
    }

    /// The oracle at the point of the agent that draws.
    fn at_own_points(
        &mut self,
        mut oracle: impl FnMut(Draw, &Vars<F>, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> impl FnMut(Draw) -> Result<Losses, WorkerError> {
        let Self { hosted, v, d, .. } = self;
        move |draw| {
            let place = draw.worker - hosted.start;
            oracle(draw, &v[place], &mut d[place])
        }
    }

    fn weigh(&mut self, wanted: Blocks, net: &Net<'_, F>) {
        for (place, agent) in self.places() {
            weigh(net.direction_scale(agent), wanted, &mut self.d[place]);
        }
    }

    /// As [`super::Algorithm::show`].
    pub fn show(
        &mut self,
        net: &mut Net<'_, F>,
        shown: &mut Vars<F>,
    ) -> Result<[f64; 3], NetError> {
        let errors = net.show_mean(&self.v, &mut self.mean)?;
        shown.as_mut_slice().copy_from_slice(self.mean.as_slice());
        Ok(errors)
    }

    /// Shows the iterate of a hosted agent.
    pub fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        if let Holder::Worker(agent) = of {
            archive.vector(self.v[agent - self.hosted.start].as_mut_slice());
        }
    }
}

/// d *= scale for the wanted variables.
fn weigh<F: Scalar>(scale: f64, wanted: Blocks, d: &mut Vars<F>) {
    if scale != 1.0 {
        for block in wanted.iter() {
            d.block_mut(block).iter_mut().for_each(|d| *d *= F::lit(scale));
        }
    }
}
