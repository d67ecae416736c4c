//! Patterns over packets: what an algorithm says to the network.
//!
//! [`Net::publish`] brings the server's iterate to all workers, [`Net::mean_at_server`] brings the
//! mean of the workers' compressed vectors to the server (`memory.rs`: the same with error
//! feedback), [`Net::sum_over_workers`] is for evaluations. Every sum is made in worker order.

mod clock;
mod frame;
mod memory;
mod star;

use std::ops::Range;

use crate::comm::{Comm, CommError, Inbox, Placement};
use crate::compressors::{Bound, Compressor};
use crate::packet::{DecodeError, Packet};
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims, Vars};

pub use clock::{Clock, PHASES, Phase};
pub use memory::Memories;

/// A run's communication failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NetError {
    #[error(transparent)]
    Comm(#[from] CommError),
    #[error("message of worker {worker} at iteration {iteration}: {source}")]
    Decode { worker: usize, iteration: u64, source: DecodeError },
    #[error("message at iteration {iteration}: {problem}")]
    Frame { iteration: u64, problem: String },
    /// Found on this rank, which is the lowest that found one. All ranks stop with this error's code.
    #[error("{0}")]
    Worker(String),
    /// Found and reported by another rank.
    #[error("another rank reported the error")]
    Elsewhere,
}

/// What travelled. Bytes are packet lengths: they do not depend on the number of ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets of all workers to the server.
    pub upload_bytes: u64,
    /// What the workers had to receive, all workers together.
    pub download_bytes: u64,
}

/// What a rank handed to MPI since the start, envelopes in, and how it spent its last step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RankReport {
    /// Bytes handed to MPI towards the server.
    pub wire_bytes_up: u64,
    /// Bytes handed to MPI towards the workers.
    pub wire_bytes_down: u64,
    /// Seconds by [`Phase`] in the last step.
    pub seconds: [f32; PHASES],
}

/// One rank's end of the network of a run.
pub struct Net<'c, F> {
    comm: &'c mut dyn Comm,
    placement: Placement,
    dims: Dims,
    seed: u64,
    fingerprint: u32,
    compressors: [Box<dyn Compressor<F>>; 3],
    /// Time by phase; the algorithm's own work after a `mean_at_server` is charged to the server.
    pub clock: Clock,
    traffic: Traffic,
    wire: (u64, u64),
    report: RankReport,
    losses: Losses,
    reports: Vec<RankReport>,
    /// Buffers that are reused.
    down: Vec<u8>,
    up: Vec<u8>,
    inbox: Inbox,
    direction: Vars<F>,
    mean: Vars<F>,
}

impl<'c, F: Scalar> Net<'c, F> {
    /// A net of `workers` workers on the ranks of `comm`. `fingerprint` must be equal on all ranks.
    pub fn new(
        comm: &'c mut dyn Comm,
        workers: usize,
        dims: Dims,
        seed: u64,
        fingerprint: u32,
        compressors: [Box<dyn Compressor<F>>; 3],
    ) -> Self {
        let placement = Placement { workers, ranks: comm.ranks() };
        Self {
            reports: vec![RankReport::default(); comm.ranks()],
            comm,
            placement,
            dims,
            seed,
            fingerprint,
            compressors,
            clock: Clock::default(),
            traffic: Traffic::default(),
            wire: (0, 0),
            report: RankReport::default(),
            losses: Losses { upper: f64::NAN, lower: f64::NAN },
            down: vec![],
            up: vec![],
            inbox: Inbox::default(),
            direction: Vars::zeros(dims),
            mean: Vars::zeros(dims),
        }
    }

    /// The workers of this rank.
    pub fn hosted(&self) -> Range<usize> {
        self.placement.hosted(self.comm.rank())
    }

    /// Whether this rank is the server.
    pub fn is_server(&self) -> bool {
        self.comm.is_root()
    }

    /// What the compressors of x, y and z promise.
    pub fn bounds(&self) -> [Bound; 3] {
        bounds(&self.compressors, self.dims)
    }

    /// What travelled so far; at the server.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Means of the workers' mini-batch losses in the last iteration; at the server.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// This rank's report of the step that has just ended.
    pub fn report(&mut self) -> RankReport {
        let (wire_bytes_up, wire_bytes_down) = self.wire;
        RankReport { wire_bytes_up, wire_bytes_down, seconds: self.clock.take_lap() }
    }

    /// What each rank reported with its last message, about the step before; at the server.
    pub fn reports(&self) -> &[RankReport] {
        &self.reports
    }
}

/// What the compressors of x, y and z promise for vectors of these lengths.
pub fn bounds<F: Scalar>(compressors: &[Box<dyn Compressor<F>>; 3], dims: Dims) -> [Bound; 3] {
    let [x, y, z] = dims.blocks();
    [compressors[0].bound(x), compressors[1].bound(y), compressors[2].bound(z)]
}

/// out += scale C(v) from the three packets at the front of `bytes`; returns the rest.
fn add_packets<'b, F: Scalar>(
    compressors: &mut [Box<dyn Compressor<F>>; 3],
    draw: Draw,
    mut bytes: &'b [u8],
    scale: [F; 3],
    out: &mut Vars<F>,
) -> Result<&'b [u8], DecodeError> {
    for (block, (compressor, scale)) in
        Block::ALL.into_iter().zip(compressors.iter_mut().zip(scale))
    {
        let packet;
        (packet, bytes) = Packet::split(bytes)?;
        compressor.decode_add(packet, star::block_key(draw, block), scale, out.block_mut(block))?;
    }
    Ok(bytes)
}
