//! Patterns over packets: what an algorithm says to the network.
//!
//! [`Net::publish`] brings the server's iterate to all workers, [`Net::mean_at_server`] brings an
//! estimate of the mean of the workers' vectors to the server; both are given the iteration, or one of
//! its rounds ([`Round`]), in which only some of the variables travel. [`Net::sum_over_workers`] is for
//! evaluations. How vectors travel is the business of [`Links`]: compressed or not, with feedback,
//! each rank making the server's step or one of them. Every sum is made in worker order.
//!
//! `publish.rs` is the way down, `mean.rs` the way up; `star.rs`, `segments.rs` and `low_rank.rs` move
//! and sum its packets.

mod clock;
mod evaluate;
mod frame;
mod gossip;
mod link;
mod low_rank;
mod mean;
mod publish;
mod round;
mod segments;
mod star;
mod wishes;

use std::ops::Range;

use crate::archive::{Archive, Holder};
use crate::comm::{Comm, CommError, Messages, Placement};
use crate::compressors::NotFinite;
use crate::packet::DecodeError;
use crate::problems::Losses;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Vars};

pub use clock::{Clock, PHASES, Phase};
pub use gossip::{Coding, Importance, LinkBytes, Mixed, Neighbours, Site};
pub use link::{Collective, Costs, Downlink, Links, Rounds, Uplink};
pub use round::Round;
pub use wishes::{StopReason, Wishes};

/// A run's communication failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NetError {
    #[error(transparent)]
    Comm(#[from] CommError),
    #[error("message of worker {worker} at iteration {iteration}: {source}")]
    Decode { worker: usize, iteration: u64, source: DecodeError },
    #[error("message of the server at iteration {iteration}: {source}")]
    FromServer { iteration: u64, source: DecodeError },
    #[error("message at iteration {iteration}: {problem}")]
    Frame { iteration: u64, problem: String },
    /// Found on this rank, which is the lowest that found one. All ranks stop with this error's code.
    #[error("{0}")]
    Worker(String),
    /// Found and reported by another rank.
    #[error("another rank reported the error")]
    Elsewhere,
    #[error(
        "iteration {iteration}: rank {rank} holds another iterate than rank 0: the ranks do not \
         compute alike; start all of them with the same program on processors of one kind"
    )]
    Apart { iteration: u64, rank: usize },
}

/// Bytes that a [`Net`] shows of the server besides its links.
pub const COUNTERS: u64 = 5 * size_of::<u64>() as u64;

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

/// What a [`Net`] is made for.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Number of workers of the run.
    pub workers: usize,
    /// Lengths of the variables.
    pub dims: Dims,
    /// Seed of every draw.
    pub seed: u64,
    /// Equal on all ranks of a run.
    pub fingerprint: u32,
}

/// One rank's end of the network of a run.
pub struct Net<'c, F> {
    comm: &'c mut dyn Comm,
    placement: Placement,
    setting: Setting,
    links: Links<F>,
    gossip: gossip::Gossip<F>,
    /// Time by phase; the algorithm's own work after a `mean_at_server` is charged to the server.
    pub clock: Clock,
    traffic: Traffic,
    wire: (u64, u64),
    report: RankReport,
    losses: Losses,
    /// The iteration whose rounds are being made.
    iteration: Option<u64>,
    /// Whose mean right factors of low rank have not come down yet.
    warm: Blocks,
    reports: Vec<RankReport>,
    /// What this rank wants; at the root of a star what any rank wants.
    wishes: Wishes,
    /// What all ranks know to be wanted.
    agreed: Wishes,
    /// Buffers that are reused.
    down: Vec<u8>,
    up: Vec<u8>,
    inbox: Messages,
    outbox: Messages,
    direction: Vars<F>,
    mean: Vars<F>,
    sums: segments::Sums<F>,
}

impl<'c, F: Scalar> Net<'c, F> {
    /// One rank's end of the network.
    pub fn new(comm: &'c mut dyn Comm, setting: Setting, mut links: Links<F>) -> Self {
        let Setting { workers, dims, seed, .. } = setting;
        let placement = Placement { workers, ranks: comm.ranks() };
        low_rank::start(&mut links, placement.hosted(comm.rank()).len(), seed);
        let gossip = gossip::Gossip::new(links.neighbours.take(), dims, placement, comm.rank());
        Self {
            reports: vec![RankReport::default(); comm.ranks()],
            comm,
            placement,
            setting,
            links,
            gossip,
            clock: Clock::default(),
            traffic: Traffic::default(),
            wire: (0, 0),
            report: RankReport::default(),
            losses: Losses::NONE,
            iteration: None,
            warm: Blocks::NONE,
            wishes: Wishes::default(),
            agreed: Wishes::default(),
            down: vec![],
            up: vec![],
            inbox: Messages::default(),
            outbox: Messages::default(),
            direction: Vars::zeros(dims),
            mean: Vars::zeros(dims),
            sums: segments::Sums::default(),
        }
    }

    /// What moves the bytes, for what is no part of an iteration.
    pub fn comm(&mut self) -> &mut dyn Comm {
        &mut *self.comm
    }

    /// The workers of this rank.
    pub fn hosted(&self) -> Range<usize> {
        self.placement.hosted(self.comm.rank())
    }

    /// What is done once at an iteration's first round: the step before is reported.
    fn begin(&mut self, round: Round) {
        self.clock.charge(Phase::Server);
        if self.iteration != Some(round.iteration) {
            self.iteration = Some(round.iteration);
            self.report = self.report();
            self.losses = Losses::NONE;
        }
    }

    /// Whether this rank makes the server's step: the root, or with [`Downlink::Sum`] every rank.
    fn is_server(&self) -> bool {
        self.comm.is_root() || self.is_replicated()
    }

    /// Whether every rank makes the server's step.
    fn is_replicated(&self) -> bool {
        matches!(self.links.down, Downlink::Sum)
    }

    /// Shows a holder's state to `archive` ([`crate::archive`]): what feedback and coders keep, the copies
    /// of neighbours, what is to come down still, what travelled, and the last losses. Clocks and what was handed to MPI are of a
    /// rank, and of one part of a run.
    pub fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.links.state(of, archive);
        self.gossip.state(of, archive);
        if of != Holder::Server {
            return;
        }
        // As many words as [`COUNTERS`] says.
        let mut warm = self.warm.bits();
        archive.word(&mut warm);
        self.warm = Blocks::from_bits(warm);
        archive.word(&mut self.traffic.upload_bytes);
        archive.word(&mut self.traffic.download_bytes);
        // As words: a loss that was not needed is no number.
        for loss in [&mut self.losses.upper, &mut self.losses.lower] {
            let mut bits = loss.to_bits();
            archive.word(&mut bits);
            *loss = f64::from_bits(bits);
        }
    }

    /// What travelled so far; at the root.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Bytes of all workers' uploads in an iteration of these rounds, were nothing compressed.
    pub fn dense_upload(&self, rounds: &Rounds) -> u64 {
        match self.has_neighbours() {
            true => self.dense_gossip(rounds),
            false => {
                self.setting.workers as u64 * self.links.dense_upload(self.setting.dims, rounds)
            }
        }
    }

    /// Means of the workers' mini-batch losses in the last iteration, each from the last round that
    /// needed it; at the root.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// This rank's report of the step that has just ended.
    pub fn report(&mut self) -> RankReport {
        let (wire_bytes_up, wire_bytes_down) = self.wire;
        RankReport { wire_bytes_up, wire_bytes_down, seconds: self.clock.take_lap() }
    }

    /// Has all ranks know of this rank's wishes in time: those of the root at the end of the next step, those
    /// of others at the end of that or of the one after it.
    pub fn wish(&mut self, wishes: Wishes) {
        self.wishes = self.wishes.and(wishes);
    }

    /// What is to be done after this step, the same on all ranks; it is then no longer wished for.
    pub fn take_agreed(&mut self) -> Wishes {
        let agreed = std::mem::take(&mut self.agreed);
        self.wishes = self.wishes.without(agreed);
        agreed
    }

    /// What each rank reported with its last message, about the step before; at the root.
    pub fn reports(&self) -> &[RankReport] {
        &self.reports
    }
}

/// Words for a vector that cannot be compressed.
fn overflow(block: Block, source: NotFinite) -> String {
    let name = block.name();
    format!(
        "what is to be sent of {name} cannot be compressed: {source}; the iterates diverge: lower the \
         algorithm's step sizes, or set its clip radius rho if it has one"
    )
}
