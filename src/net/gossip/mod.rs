//! Neighbours in place of a server: each hosted agent's vectors go to the ranks of its neighbours, and
//! what they send is mixed.
//!
//! An exchange is: [`Net::put`] for every hosted agent and variable, [`Net::swap`], which sends one
//! message to each neighbouring rank, and [`Net::take`] for the same ones. An iteration ends with
//! [`Net::close`]: ranks report to rank 0 what they report in every method (losses, times, errors), which
//! is not counted as traffic.
//!
//! Uncompressed, agent i takes sum_j w_ij v_j, summed in ascending j. Compressed (`copies.rs`), every
//! holder of agent j's packets follows a copy of its vector:
//!
//! ```text
//! agent j sends q_j = C(v_j - s^_j);   v~_j = s^_j + q_j;   s^_j += delta q_j          s^_j = 0 at the start
//! agent i takes M v = v_i + eta sum_j w_ij (v~_j - v~_i), or the same with the new s^ in place of v~
//! ```
//!
//! v~ is unbiased if C is, which the dual variables of ed and extra need; s^ is less noisy. delta = 1/(1 + omega) for an unbiased C, 1 for a contractive one (CHOCO: Koloskova, Stich, Jaggi, ICML
//! 2019; LEAD: Liu, Li, Wang, Tang, Yan, ICLR 2021). The own vector enters uncompressed, so that the mean
//! is conserved.

mod copies;
mod exchange;
mod report;
mod routes;

use std::ops::Range;

use super::link::{bytes_of, dense_packet, stream};
use super::{Net, Phase, Round, Rounds};
use crate::comm::{Peer, Placement};
use crate::compressors::Compressor;
use crate::graph::Graph;
use crate::key::{Key, Stream};
use crate::packet::{DecodeError, Packet};
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims};
use crate::workers::WorkerError;

pub use report::LinkBytes;

use copies::Copies;
use routes::Routes;

/// What a run without a server is made for.
pub struct Neighbours<F> {
    /// Of x, y and z.
    pub variables: [Mixed<F>; 3],
    /// How much each agent's losses count.
    pub importance: Importance,
    /// Whether directions are multiplied by it. Otherwise the mixing matrices see to it.
    pub scaled: bool,
}

impl<F: Scalar> Neighbours<F> {
    /// Bytes that each variable puts on a link in an iteration of these rounds, at most.
    pub fn link_bytes(&self, dims: Dims, rounds: &Rounds) -> [u64; 3] {
        Block::ALL.map(|block| {
            let packet = self.longest_packet(dims, block);
            bytes_of(rounds, |other| if other == block { packet } else { 0 })
        })
    }

    /// Bytes of a variable's packet, at most.
    fn longest_packet(&self, dims: Dims, block: Block) -> u64 {
        let coding = self.variables[block as usize].coding.as_ref();
        let coded = coding.map(|coding| coding.compressor.max_packet() as u64);
        coded.unwrap_or_else(|| dense_packet::<F>(dims, block))
    }

    /// Bytes that a checkpoint has of an agent's copies and counters, at most.
    pub fn state_bytes(&self, dims: Dims) -> u64 {
        let word = size_of::<u64>() as u64;
        let copies = |(mixed, dim): (&Mixed<F>, usize)| match mixed.coding {
            Some(_) => word + (mixed.graph.degree() as u64 + 1) * (dim * F::BYTES) as u64,
            None => 0,
        };
        let of_channel: u64 = self.variables.iter().zip(dims.blocks()).map(copies).sum();
        let links: usize = self.variables.iter().map(|mixed| mixed.graph.degree()).sum();
        CHANNELS as u64 * of_channel + word * links as u64
    }

    /// Bytes that an agent takes, at most: iterates, directions, averages and what the strategies keep; its
    /// packets and those of its neighbours, once as they travel and once in a message; for a compressed
    /// variable a copy of each neighbour and of itself.
    pub fn agent_bytes(&self, dims: Dims) -> u64 {
        let packets = self.link_bytes(dims, &[(CHANNELS as u64, Blocks::ALL)]);
        let of_variable = |(mixed, (dim, packets)): (&Mixed<F>, (usize, u64))| {
            let known = mixed.graph.degree() as u64 + 1;
            let copies = if mixed.coding.is_some() { CHANNELS * dim * F::BYTES } else { 0 };
            known.saturating_mul(copies as u64 + 2 * packets)
        };
        let each = self.variables.iter().zip(dims.blocks().into_iter().zip(packets));
        let own = 6 * (dims.total() * F::BYTES) as u64;
        each.map(of_variable).fold(own, u64::saturating_add)
    }
}

/// n lambda_i, how much worker i's losses count in f and g; 1 for all by default.
#[derive(Clone, Debug, Default)]
pub struct Importance(pub Option<Vec<f64>>);

impl Importance {
    /// That of a worker.
    pub fn of(&self, worker: usize) -> f64 {
        self.0.as_ref().map_or(1.0, |all| all[worker])
    }
}

/// How a variable is mixed.
pub struct Mixed<F> {
    /// Who hears whom.
    pub graph: Graph,
    /// How it travels; `None`: as it is.
    pub coding: Option<Coding<F>>,
}

/// How a compressed variable travels.
pub struct Coding<F> {
    /// C.
    pub compressor: Box<dyn Compressor<F>>,
    /// delta, the rate of the copies.
    pub rate: f64,
    /// eta, the step towards the neighbours.
    pub eta: f64,
    /// That of the dual variable of the corrected strategies.
    pub eta_dual: f64,
}

/// One of the vectors of a variable that travel in an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    block: Block,
    channel: usize,
}

/// Vectors of a variable that may travel in an iteration.
const CHANNELS: usize = 2;

impl Site {
    /// The iterate's.
    pub fn iterate(block: Block) -> Self {
        Self { block, channel: 0 }
    }

    /// A gradient tracker's.
    pub fn tracker(block: Block) -> Self {
        Self { block, channel: 1 }
    }

    /// In the order in which they travel.
    fn all() -> impl Iterator<Item = Self> {
        Block::ALL
            .into_iter()
            .flat_map(|block| (0..CHANNELS).map(move |channel| Self { block, channel }))
    }

    fn index(self) -> usize {
        CHANNELS * self.block as usize + self.channel
    }

    /// Key of what agent `draw.worker` draws.
    fn key(self, draw: Draw) -> Key {
        let streams = [Stream::CompressX, Stream::CompressY, Stream::CompressZ];
        Draw { lower: self.channel as u32, ..draw }.key(stream(streams, self.block))
    }
}

/// A rank's part of the exchanges; without agents in a run that has a server.
#[derive(Default)]
pub(super) struct Gossip<F> {
    importance: Importance,
    scaled: bool,
    /// The weights of the mean that mixing conserves [n].
    lambda: Vec<f64>,
    variables: Vec<Variable<F>>,
    /// By [`Site::index`].
    places: Vec<Place<F>>,
    /// Packets of the hosted agents in this exchange.
    packed: Vec<u8>,
    /// Whether something was put since the last swap.
    open: bool,
    /// Exchanges in this iteration.
    exchanges: usize,
    /// Ranks of the exchange.
    to: Vec<Peer>,
    from: Vec<Peer>,
    buffer: Vec<F>,
    /// Directed links (sender, receiver) of all variables whose sender is hosted, and their bytes so far.
    links: Vec<(usize, usize)>,
    link_bytes: Vec<u64>,
    /// Most links of one sender.
    most_links: usize,
    /// Of each hosted agent in this iteration.
    losses: Vec<Losses>,
    /// Why the rank cannot go on, until it is reported; empty if a neighbour failed.
    failure: Option<String>,
}

struct Variable<F> {
    routes: Routes,
    coding: Option<Coding<F>>,
    /// Of each of its links the place in [`Gossip::links`].
    counters: Vec<usize>,
    dim: usize,
    /// Bytes of a packet at most.
    longest: usize,
    /// Most neighbours of an agent.
    degree: usize,
    /// Links that carry a vector in one exchange, of all agents.
    heard: usize,
}

/// What is known of one site.
#[derive(Default)]
struct Place<F> {
    /// Whether it travels in this exchange.
    used: bool,
    /// Where the packet of each known agent is.
    spans: Vec<Span>,
    copies: Copies<F>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    /// In the inbox, or else in [`Gossip::packed`].
    heard: bool,
    bytes: Range<usize>,
}

impl<F: Scalar> Gossip<F> {
    /// A rank's part; `None` in a run that has a server.
    pub fn new(
        neighbours: Option<Neighbours<F>>,
        dims: Dims,
        placement: Placement,
        rank: usize,
    ) -> Self {
        let Some(neighbours) = neighbours else { return Self::default() };
        let mut longest =
            Block::ALL.map(|block| neighbours.longest_packet(dims, block)).into_iter();
        let Neighbours { variables, importance, scaled } = neighbours;
        let lambda = variables[0].graph.lambda().to_vec();
        let mut links: Vec<_> = variables.iter().flat_map(|mixed| mixed.graph.links()).collect();
        links.sort_unstable();
        links.dedup();
        let most_links = links.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max().unwrap_or(0);
        links.retain(|(j, _)| placement.hosted(rank).contains(j));
        let mut dims = dims.blocks().into_iter();
        let variables = variables.map(|Mixed { graph, coding }| Variable {
            routes: Routes::new(&graph, placement, rank),
            coding,
            counters: vec![],
            dim: dims.next().unwrap_or_default(),
            longest: longest.next().unwrap_or_default() as usize,
            degree: graph.degree(),
            heard: graph.heard(),
        });
        let counters = |v: &Variable<F>| {
            let place = |link: &_| links.partition_point(|other| other < link);
            v.routes.links.iter().map(place).collect()
        };
        let variables = variables.into_iter().map(|v| Variable { counters: counters(&v), ..v });
        Self {
            importance,
            scaled,
            lambda,
            variables: variables.collect(),
            places: Site::all().map(|_| Place::default()).collect(),
            link_bytes: vec![0; links.len()],
            links,
            most_links,
            losses: vec![Losses::NONE; placement.hosted(rank).len()],
            ..Self::default()
        }
    }

    /// Has a hosted agent of this rank compute.
    fn compute(
        &mut self,
        rank: usize,
        draw: Draw,
        oracle: &mut impl FnMut(Draw) -> Result<Losses, WorkerError>,
    ) {
        if self.failure.is_some() {
            return;
        }
        match oracle(draw) {
            Ok(losses) => self.losses[draw.worker - self.variables[0].routes.first].update(losses),
            Err(error) => self.fail(rank, draw, &error.to_string()),
        }
    }

    fn fail(&mut self, rank: usize, draw: Draw, words: &str) {
        let Draw { worker, iteration, .. } = draw;
        let words = format!("rank {rank}, worker {worker}, iteration {iteration}: {words}");
        self.failure.get_or_insert(words);
    }

    /// Bytes that each hosted agent has sent so far, over its links.
    fn sent(&self, agent: usize) -> u64 {
        let own = self.links.iter().zip(&self.link_bytes).filter(|((j, _), _)| *j == agent);
        own.map(|(_, bytes)| bytes).sum()
    }
}

impl<F: Scalar> Net<'_, F> {
    /// How much the workers' losses count.
    pub fn importance(&self) -> Importance {
        self.gossip.importance.clone()
    }

    /// What a hosted agent's directions are multiplied by.
    pub fn direction_scale(&self, agent: usize) -> f64 {
        if self.gossip.scaled { self.gossip.importance.of(agent) } else { 1.0 }
    }

    /// Bytes of all agents' packets in an iteration of these rounds, were nothing compressed.
    pub(super) fn dense_gossip(&self, rounds: &Rounds) -> u64 {
        bytes_of(rounds, |block| {
            let heard = self.gossip.variables[block as usize].heard;
            heard as u64 * dense_packet::<F>(self.setting.dims, block)
        })
    }

    /// Whether agents talk to their neighbours.
    pub(super) fn has_neighbours(&self) -> bool {
        !self.gossip.variables.is_empty()
    }

    /// eta_dual / eta of a variable, 1 where it is not compressed.
    pub fn dual_rate(&self, block: Block) -> f64 {
        let coding = self.gossip.variables.get(block as usize).and_then(|v| v.coding.as_ref());
        coding.map_or(1.0, |coding| coding.eta_dual / coding.eta)
    }

    /// What is done at an iteration's first step, whichever that is.
    fn enter(&mut self, k: u64) {
        if self.iteration != Some(k) {
            self.gossip.losses.fill(Losses::NONE);
            self.gossip.exchanges = 0;
        }
        self.begin(k.into());
    }

    /// Has each hosted agent, `draw.worker`, compute. An error is reported at the iteration's end; until
    /// then the rank's numbers are of no account.
    pub fn compute(
        &mut self,
        round: Round,
        mut oracle: impl FnMut(Draw) -> Result<Losses, WorkerError>,
    ) {
        self.enter(round.iteration);
        let rank = self.comm.rank();
        for agent in self.hosted() {
            self.gossip.compute(rank, round.draw(self.setting.seed, agent), &mut oracle);
            self.clock.charge(Phase::Compute);
        }
    }
}

impl<F: Scalar> Place<F> {
    /// The packet of a known agent, which was checked when it was found.
    fn packet<'b>(
        &self,
        at: usize,
        packed: &'b [u8],
        inbox: &'b [u8],
    ) -> Result<Packet<'b>, DecodeError> {
        let Span { heard, bytes } = self.spans[at].clone();
        let from = if heard { inbox } else { packed };
        Ok(Packet::split(&from[bytes])?.0)
    }
}
