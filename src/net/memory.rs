//! Error feedback: a memory m_i per worker, followed on both sides from the bytes alone.
//!
//! ```text
//! worker i:  c_i = C(D_i - m_i);  m_i += delta c_i;  sends c_i
//! server:    D^ = m + mean_i c_i;  m += delta mean_i c_i          (m = mean_i m_i)
//! ```
//!
//! delta = 1/(1+omega) for an unbiased C (DIANA: Mishchenko, Gorbunov, Takac, Richtarik 2019),
//! 1 for a contractive C (EF21: Richtarik, Sokolov, Fatkhullin, NeurIPS 2021).

use std::ops::Range;

use super::{Net, NetError, Phase, add_packets};
use crate::compressors::{Bound, Compressor};
use crate::packet::DecodeError;
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims, Vars, add_scaled};
use crate::workers::WorkerError;

/// The memories of the hosted workers and, at the server, their mean over all workers.
pub struct Memories<F> {
    first: usize,
    workers: Vec<Vars<F>>,
    server: Vars<F>,
    /// D^ of the current iteration.
    estimate: Vars<F>,
    /// delta for x, y and z.
    rates: [F; 3],
}

impl<F: Scalar> Memories<F> {
    /// All memories zero, with the rates that the compressors of x, y and z allow.
    pub fn new(dims: Dims, hosted: Range<usize>, bounds: [Bound; 3]) -> Self {
        let zeros = || Vars::zeros(dims);
        Self {
            first: hosted.start,
            workers: hosted.map(|_| zeros()).collect(),
            server: zeros(),
            estimate: zeros(),
            rates: bounds.map(|bound| F::lit(bound.memory_rate())),
        }
    }

    /// Memory m_i of a hosted worker.
    pub fn of(&self, worker: usize) -> &Vars<F> {
        &self.workers[worker - self.first]
    }

    /// d -= m_i.
    pub(super) fn subtract(&self, draw: Draw, d: &mut Vars<F>) {
        add_scaled(d.as_mut_slice(), -F::one(), self.of(draw.worker).as_slice());
    }

    /// m_i += delta c_i, from the packets as they travel.
    pub(super) fn follow(
        &mut self,
        compressors: &mut [Box<dyn Compressor<F>>; 3],
        draw: Draw,
        packets: &[u8],
    ) -> Result<(), DecodeError> {
        let memory = &mut self.workers[draw.worker - self.first];
        add_packets(compressors, draw, packets, self.rates, memory).map(|_| ())
    }
}

impl<F: Scalar> Net<'_, F> {
    /// D^ = m + mean_i C(v_i - m_i) at the server, `None` elsewhere; all memories follow.
    /// `compute` as in [`Net::mean_at_server`].
    pub fn estimate_at_server<'m>(
        &mut self,
        k: u64,
        memories: &'m mut Memories<F>,
        compute: impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> Result<Option<&'m Vars<F>>, NetError> {
        self.send_up(k, compute, Some(memories))?;
        let Some(mean) = self.receive(k)? else { return Ok(None) };
        let Memories { server, estimate, rates, .. } = memories;
        for (block, &rate) in Block::ALL.into_iter().zip(&*rates) {
            let mean = mean.block(block);
            estimate.block_mut(block).copy_from_slice(server.block(block));
            add_scaled(estimate.block_mut(block), F::one(), mean);
            add_scaled(server.block_mut(block), rate, mean);
        }
        self.clock.charge(Phase::Server);
        Ok(Some(estimate))
    }
}
