//! Error feedback: the packets alone tell the server every worker's memory, bit for bit.

mod common;

use serde_json::{Value, json};

use common::{SEED, bits, compressor, on_ranks, problem};
use sobaya::algorithms::{self, AlgorithmContext};
use sobaya::comm::{Comm, CommError, Cost, Inbox, Placement};
use sobaya::compressors::Compressor;
use sobaya::key::Stream;
use sobaya::net::{Memories, Net, PHASES};
use sobaya::packet::Packet;
use sobaya::problems::Draw;
use sobaya::scalar::Scalar;
use sobaya::vars::{Block, Dims, Vars, add_scaled, average_in, clip};
use sobaya::workers::Workers;

const WORKERS: usize = 8;
const RANKS: usize = 3;
const ITERATIONS: u64 = 200;

/// Keeps a copy of every message that is gathered at the root.
struct Tap<'c> {
    comm: &'c mut dyn Comm,
    /// By collective and rank.
    seen: Vec<Vec<Vec<u8>>>,
}

impl Comm for Tap<'_> {
    fn rank(&self) -> usize {
        self.comm.rank()
    }
    fn ranks(&self) -> usize {
        self.comm.ranks()
    }
    fn gather(&mut self, mine: &[u8], inbox: &mut Inbox) -> Result<Cost, CommError> {
        let cost = self.comm.gather(mine, inbox)?;
        if self.is_root() {
            self.seen.push(inbox.messages().map(<[u8]>::to_vec).collect());
        }
        Ok(cost)
    }
    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        self.comm.broadcast(message)
    }
}

/// Compressors of x, y and z.
fn compressor_sets() -> [[Value; 3]; 4] {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.2 });
    let top_k = json!({ "kind": "top-k", "ratio": 0.2 });
    let multi_step = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k });
    let all = |one: &Value| [one.clone(), one.clone(), one.clone()];
    [all(&rand_k), all(&top_k), all(&multi_step), [top_k, rand_k, multi_step]]
}

fn build<F: Scalar>(configs: &[Value; 3]) -> [Box<dyn Compressor<F>>; 3] {
    [0, 1, 2].map(|b| compressor(&configs[b]))
}

fn quadratic() -> Value {
    json!({ "kind": "quadratic", "dim_upper": 13, "dim_lower": 9, "noise": 0.1 })
}

fn draw(worker: usize, iteration: u64) -> Draw {
    Draw { seed: SEED, worker, iteration }
}

/// What a rank saw by itself.
struct Witness<F> {
    /// m_i by iteration and hosted worker.
    memories: Vec<Vec<Vars<F>>>,
    /// The server's D^ by iteration.
    estimates: Vec<Vars<F>>,
    /// Gathered messages by iteration and rank.
    messages: Vec<Vec<Vec<u8>>>,
}

/// Descends along the server's estimates.
fn descend<F: Scalar>(comm: &mut dyn Comm, compressors: &[Value; 3]) -> Witness<F> {
    let mut tap = Tap { comm, seen: vec![] };
    let hosted = Placement { workers: WORKERS, ranks: RANKS }.hosted(tap.rank());
    let problem = problem::<F>(&quadratic(), WORKERS, hosted.clone());
    let (dims, mut server) = (problem.dims(), problem.start());
    let mut workers = Workers::new(problem);
    let mut net = Net::new(&mut tap, WORKERS, dims, SEED, 0, build(compressors));
    let mut memories = Memories::new(dims, hosted.clone(), net.bounds());
    let mut copy = server.clone();
    let (mut seen, mut estimates) = (vec![], vec![]);
    for k in 0..ITERATIONS {
        net.publish(k, &server, &mut copy).expect("no rank is gone");
        let directions = |draw, d: &mut _| workers.directions(draw, &copy, d);
        let estimate = net.estimate_at_server(k, &mut memories, directions);
        if let Some(estimate) = estimate.expect("no rank is gone") {
            add_scaled(server.as_mut_slice(), F::lit(-0.01), estimate.as_slice());
            estimates.push(estimate.clone());
        }
        seen.push(hosted.clone().map(|worker| memories.of(worker).clone()).collect());
    }
    Witness { memories: seen, estimates, messages: tap.seen }
}

/// The server's view of the memories, from bytes.
struct Replay<F> {
    compressors: [Box<dyn Compressor<F>>; 3],
    rates: [F; 3],
    /// m_i of each worker.
    memories: Vec<Vars<F>>,
    /// m, which follows their mean.
    server: Vars<F>,
}

impl<F: Scalar> Replay<F> {
    fn new(dims: Dims, compressors: &[Value; 3]) -> Self {
        let compressors = build::<F>(compressors);
        let rates = [0, 1, 2].map(|b| compressors[b].bound(dims.blocks()[b]).memory_rate());
        let server = Vars::zeros(dims);
        Self {
            compressors,
            rates: rates.map(F::lit),
            memories: vec![server.clone(); WORKERS],
            server,
        }
    }

    /// Follows an iteration's messages, laid out as: 16 bytes of envelope, a report of two u64 and
    /// an f32 a phase; for each hosted worker two f64 of losses and three packets. Returns D^.
    fn follow(&mut self, k: u64, messages: &[Vec<u8>]) -> Vars<F> {
        let mut mean = Vars::zeros(self.server.dims());
        let share = F::lit(1.0 / WORKERS as f64);
        for (rank, message) in messages.iter().enumerate() {
            let mut rest = &message[16 + 16 + 4 * PHASES..];
            for worker in (Placement { workers: WORKERS, ranks: messages.len() }).hosted(rank) {
                rest = &rest[16..];
                for (b, stream) in [Stream::CompressX, Stream::CompressY, Stream::CompressZ]
                    .into_iter()
                    .enumerate()
                {
                    let packet;
                    (packet, rest) = Packet::split(rest).expect("a packet of the worker");
                    let key = draw(worker, k).key(stream);
                    let mut add = |scale, out: &mut Vars<F>| {
                        let out = out.block_mut(Block::ALL[b]);
                        self.compressors[b].decode_add(packet, key, scale, out).expect("a packet");
                    };
                    add(self.rates[b], &mut self.memories[worker]);
                    add(share, &mut mean);
                }
            }
            assert!(rest.is_empty(), "{} bytes behind the last worker", rest.len());
        }
        let mut estimate = self.server.clone();
        add_scaled(estimate.as_mut_slice(), F::one(), mean.as_slice());
        for (block, rate) in Block::ALL.into_iter().zip(self.rates) {
            add_scaled(self.server.block_mut(block), rate, mean.block(block));
        }
        estimate
    }
}

fn memories_are_replayed<F: Scalar>(compressors: &[Value; 3]) {
    let ranks = on_ranks(RANKS, |comm| descend::<F>(comm, compressors));
    let case = format!("{compressors:?}, {}", F::NAME);
    let Witness { estimates, messages, .. } = &ranks[0];
    assert_eq!((estimates.len(), messages.len()), (ITERATIONS as usize, ITERATIONS as usize));
    let mut replay = Replay::<F>::new(estimates[0].dims(), compressors);
    for k in 0..ITERATIONS as usize {
        let estimate = replay.follow(k as u64, &messages[k]);
        assert_eq!(bits(estimate.as_slice()), bits(estimates[k].as_slice()), "{case}: D^ at {k}");
        let held = ranks.iter().flat_map(|rank| &rank.memories[k]);
        for (worker, (held, replayed)) in held.zip(&replay.memories).enumerate() {
            let equal = bits(held.as_slice()) == bits(replayed.as_slice());
            assert!(equal, "{case}: memory of worker {worker} at {k}");
        }
    }
    let followed = replay.memories.iter().all(|m| m.as_slice().iter().all(|m| *m != F::zero()));
    assert!(followed, "{case}: an entry was never sent");
}

#[test]
fn packets_alone_tell_every_memory() {
    for compressors in compressor_sets() {
        memories_are_replayed::<f32>(&compressors);
        memories_are_replayed::<f64>(&compressors);
    }
}

#[test]
fn packets_alone_tell_the_iterate_of_ef_soba() {
    let (alpha, beta, gamma, theta, rho) = (0.02, 0.01, 0.03, 0.3, 0.5);
    let compressors = &compressor_sets()[3];
    for momentum in ["server", "worker"] {
        let config = json!({ "kind": "ef-soba", "alpha": alpha, "beta": beta, "gamma": gamma,
            "theta": theta, "rho": rho, "momentum": momentum });
        let mut ranks = on_ranks(RANKS, |comm| {
            let mut tap = Tap { comm, seen: vec![] };
            let hosted = Placement { workers: WORKERS, ranks: RANKS }.hosted(tap.rank());
            let problem = problem::<f64>(&quadratic(), WORKERS, hosted.clone());
            let start = problem.start();
            let mut workers = Workers::new(problem);
            let mut net = Net::new(&mut tap, WORKERS, start.dims(), SEED, 0, build(compressors));
            let context = AlgorithmContext { start, hosted, bounds: net.bounds() };
            let algorithm = algorithms::registry().build(&config, context);
            let mut algorithm = algorithm.expect("parameters of ef-soba");
            for k in 0..ITERATIONS {
                algorithm.step(k, &mut workers, &mut net).expect("no rank is gone");
            }
            (algorithm.iterate().clone(), tap.seen)
        });
        let (iterate, messages) = ranks.swap_remove(0);
        let mut replay = Replay::<f64>::new(iterate.dims(), compressors);
        let mut v = Vars::zeros(iterate.dims());
        let mut h = vec![0.0; iterate.dims().upper];
        for (k, messages) in messages.iter().enumerate() {
            let d = replay.follow(k as u64, messages);
            let (x, y, z) = v.split_mut();
            match momentum {
                "server" => average_in(&mut h, theta, d.x()),
                _ => h.copy_from_slice(d.x()),
            }
            add_scaled(x, -alpha, &h);
            add_scaled(y, -beta, d.y());
            add_scaled(z, -gamma, d.z());
            clip(z, rho);
        }
        assert_eq!(bits(v.as_slice()), bits(iterate.as_slice()), "momentum at the {momentum}");
    }
}
