//! What a run takes, foretold before anything of that size is made: the memory of each rank, and the
//! length of a checkpoint.

use super::build;
use crate::archive::{Archive, Holder};
use crate::comm::Placement;
use crate::config::{Hypergradient, Plan};
use crate::data::Folder;
use crate::error::Error;
use crate::evaluate;
use crate::log;
use crate::net::{COUNTERS, Collective, Costs, Links};
use crate::problems::{self, Problem};
use crate::scalar::Scalar;
use crate::vars::{Blocks, Dims, Vars};

/// What a rank of an empty run holds: this program, MPI, HDF5 and LAPACK. Measured with Open MPI 4.1 and
/// OpenBLAS 0.3 on x86-64; a little more for each rank of the machine.
const PROGRAM: [u64; 2] = [30_000_000, 600_000];
/// HDF5 lets a file in memory grow by this much.
const LOG_STEP: u64 = 1 << 20;

/// Bytes that a rank holds at most, by what they are for. Of the last three, which come and go, one is held
/// at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Samples, and what the problem computes in.
    pub samples: u64,
    /// Iterates, directions, what feedback and coders remember.
    pub vectors: u64,
    /// Messages that go out and come in.
    pub messages: u64,
    /// The program and its libraries.
    pub program: u64,
    /// An evaluation.
    pub evaluation: u64,
    /// A checkpoint that is written.
    pub checkpoint: u64,
    /// The log that is built.
    pub log: u64,
}

impl Memory {
    /// What is held at once.
    pub fn total(&self) -> u64 {
        let Self { samples, vectors, messages, program, evaluation, checkpoint, log } = *self;
        let passing = evaluation.max(checkpoint).max(log);
        [samples, vectors, messages, program, passing].into_iter().fold(0, u64::saturating_add)
    }
}

/// Bytes of the state that a checkpoint keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Of the server.
    pub server: u64,
    /// Of each worker.
    pub worker: u64,
}

impl State {
    /// Of the parts of a set, without its manifest. At most so many for compressed methods without a server,
    /// else exactly.
    pub fn of_set(self, workers: usize) -> u64 {
        self.server.saturating_add((workers as u64).saturating_mul(self.worker))
    }
}

/// A plan's problem and links, and what a run of them takes.
pub struct Forecast<'p, F> {
    plan: &'p Plan,
    problem: &'p dyn Problem<F>,
    /// How the plan's vectors travel; of one worker.
    pub links: Links<F>,
    /// The rounds of an iteration.
    pub rounds: Vec<(u64, Blocks)>,
    /// Bytes of an iteration.
    pub costs: Costs,
    /// What a checkpoint keeps.
    pub state: State,
    /// What of it the algorithm keeps.
    of_algorithm: State,
}

impl<'p, F: Scalar> Forecast<'p, F> {
    /// Of a plan and its problem, which may host no worker.
    pub fn new(plan: &'p Plan, problem: &'p dyn Problem<F>) -> Result<Self, Error> {
        let dims = problem.dims();
        // Its vectors are zeros that are never looked at, and so take no memory.
        let mut links = build::links::<F>(plan, problem, 0..1)?;
        let rounds = build::algorithm::<F>(plan, problem, 0..0)?.rounds();
        let costs = links.costs(dims, &rounds);
        let of_algorithm = algorithm_state::<F>(plan, dims)?;
        let mut of_links = |holder| Archive::length(|archive| links.state(holder, archive));
        let [server, worker] = [Holder::Server, Holder::Worker(0)].map(&mut of_links);
        let of_agent = links.neighbours.as_ref().map_or(0, |all| all.state_bytes(dims));
        let state = State {
            server: of_algorithm.server + server + COUNTERS,
            worker: of_algorithm.worker + worker + of_agent,
        };
        Ok(Self { plan, problem, links, rounds, costs, state, of_algorithm })
    }

    /// What a rank holds. Without a `log` it is the root of a run that is not logged. Ranks are taken to be on
    /// one machine.
    pub fn of_rank(&self, placement: Placement, rank: usize, log: Option<log::Size>) -> Memory {
        let hosted = placement.hosted(rank);
        let here = hosted.len() as u64;
        let root = rank == 0;
        let [program, more] = PROGRAM;
        let own = here.saturating_mul(self.state.worker) + if root { self.state.server } else { 0 };
        // A rank's own, on its way, and at the leader of a node what the node's ranks have.
        let set = if root { self.state.of_set(placement.workers) } else { 0 };
        let solved = self.is_solved();
        let full = if solved { self.problem.full_footprint(hosted.clone()) } else { 0 };
        let evaluation = evaluate::room(self.problem.dims(), solved).saturating_add(full as u64);
        let rebuilt = |size: log::Size| size.image.saturating_mul(3).saturating_add(LOG_STEP);
        Memory {
            samples: self.problem.footprint(hosted) as u64,
            vectors: self.vectors(here),
            messages: self.messages(placement, rank),
            program: program + more * placement.ranks as u64,
            evaluation,
            checkpoint: own.saturating_mul(2).saturating_add(set),
            log: log.filter(|_| root).map_or(0, rebuilt),
        }
    }

    /// Whether the lower level is solved for an evaluation.
    fn is_solved(&self) -> bool {
        self.plan.evaluate.hypergradient != Hypergradient::Switch(false)
    }

    /// On a rank with so many workers.
    fn vectors(&self, here: u64) -> u64 {
        let dims = self.problem.dims();
        // Direction, mean, what is shown for evaluations, and room of the coders.
        let buffers = 4 * (dims.total() * F::BYTES) as u64;
        if let Some(neighbours) = &self.links.neighbours {
            return here.saturating_mul(neighbours.agent_bytes(dims)).saturating_add(buffers);
        }
        let numbers = self.links.numbers().map(|numbers| (numbers * F::BYTES) as u64);
        let [worker, server] = numbers;
        let worker = worker + self.of_algorithm.worker;
        let alone = buffers.saturating_add(server).saturating_add(self.of_algorithm.server);
        alone.saturating_add(here.saturating_mul(worker))
    }

    fn messages(&self, placement: Placement, rank: usize) -> u64 {
        let Dims { upper, lower } = self.problem.dims();
        let (here, workers) = (placement.hosted(rank).len() as u64, placement.workers as u64);
        let gathered = here + if rank == 0 { workers } else { 0 };
        let packets = match self.links.collective {
            Collective::Star => gathered,
            // As packets, as numbers and cut in segments; then everyone's segment.
            Collective::Segments => 3 * here + workers.div_ceil(placement.ranks as u64),
        };
        // What is summed over workers for an exact hypergradient comes from each of them.
        let longest = (upper.max(lower) * size_of::<f64>()) as u64;
        let exact = if self.is_solved() { longest } else { 0 };
        let up = packets.saturating_mul(self.costs.largest_upload);
        up.max(gathered.saturating_mul(exact))
            .saturating_add(self.costs.largest_download.max(exact))
    }
}

/// Bytes that the plan's algorithm shows of the server and of a worker. They are the same sum of its
/// variables' lengths whatever those are, and so are told by three small ones: nothing of the run's size is
/// made.
fn algorithm_state<F: Scalar>(plan: &Plan, dims: Dims) -> Result<State, Error> {
    let shown = |upper, lower| -> Result<[u64; 2], Error> {
        let start = Vars::<F>::zeros(Dims { upper, lower });
        let mut algorithm = build::algorithm_at(plan, start, 0..1)?;
        let mut of = |holder| Archive::length(|archive| algorithm.state(holder, archive));
        Ok([of(Holder::Server), of(Holder::Worker(0))])
    };
    let (none, one_x, one_y) = (shown(0, 0)?, shown(1, 0)?, shown(0, 1)?);
    let of = |i: usize| {
        let by_entry = [one_x[i] - none[i], one_y[i] - none[i]];
        none[i] + by_entry[0] * dims.upper as u64 + by_entry[1] * dims.lower as u64
    };
    Ok(State { server: of(0), worker: of(1) })
}

/// The rank's part of the plan's problem, if all that the rank is to hold fits this machine: the
/// system's answer to one that does not is to kill some process.
pub fn problem_that_fits<F: Scalar>(
    plan: &Plan,
    folder: &Folder,
    placement: Placement,
    rank: usize,
) -> Result<Box<dyn Problem<F>>, Error> {
    let hosted = placement.hosted(rank);
    // Samples are as many as their files hold, which are not read twice. Without samples, sizes are
    // what the config says, and a part without workers is small.
    let is_small = !problems::registry().facts(&plan.problem).partitioned;
    let sizes = if is_small { 0..0 } else { hosted.clone() };
    let problem = build::problem::<F>(plan, folder, sizes)?;
    let need = Forecast::new(plan, &*problem)?.of_rank(placement, rank, None).total();
    match crate::system::memory_bytes() {
        Some(have) if need > have => Err(Error::Memory { rank, need, have }),
        _ if is_small => build::problem(plan, folder, hosted),
        _ => Ok(problem),
    }
}
