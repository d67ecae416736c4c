//! Feedback: the packets alone tell the server every worker's memory, bit for bit, and what a worker
//! compresses is what the recursion of its feedback says.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::{
    SEED, assert_all_kinds, bits, compressor, links, on_ranks, problem, run, setting,
};
use sobaya::archive::{Archive, Holder};
use sobaya::comm::{Comm, CommError, Cost, Messages, Peer, Placement, Work};
use sobaya::compressors::{Bound, Compressor};
use sobaya::evaluate::Evaluation;
use sobaya::feedback::{self, Feedback, Sent};
use sobaya::key::Stream;
use sobaya::net::{Net, PHASES};
use sobaya::packet::{DecodeError, Packet};
use sobaya::problems::Draw;
use sobaya::run::Outcome;
use sobaya::scalar::Scalar;
use sobaya::vars::{Block, Blocks, Dims, Vars, add_scaled};
use sobaya::workers::Workers;

const WORKERS: usize = 8;
const RANKS: usize = 3;
const ITERATIONS: u64 = 1000;

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
    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError> {
        let cost = self.comm.gather(mine, inbox)?;
        if self.is_root() {
            self.seen.push(inbox.messages().map(<[u8]>::to_vec).collect());
        }
        Ok(cost)
    }
    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        self.comm.broadcast(message)
    }
    fn exchange(
        &mut self,
        outgoing: &Messages,
        lengths: &[usize],
        incoming: &mut Messages,
    ) -> Result<Cost, CommError> {
        self.comm.exchange(outgoing, lengths, incoming)
    }
    fn neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Result<Cost, CommError> {
        self.comm.neighbours(to, outgoing, from, incoming, work)
    }
}

/// A direction and what the worker's feedback made of it.
struct Target<F> {
    worker: usize,
    block: Block,
    direction: Vec<F>,
    compressed: Vec<F>,
}

/// What a rank's feedback was asked, in order.
type Record<F> = Arc<Mutex<Vec<Target<F>>>>;

/// A feedback under observation.
struct Witnessed<F> {
    feedback: Box<dyn Feedback<F>>,
    targets: Record<F>,
}

impl<F: Scalar> Feedback<F> for Witnessed<F> {
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]) {
        let direction = v.to_vec();
        self.feedback.target(worker, block, v);
        let compressed = v.to_vec();
        let target = Target { worker, block, direction, compressed };
        self.targets.lock().expect("one thread").push(target);
    }
    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError> {
        self.feedback.follow(worker, block, v, sent)
    }
    fn estimate(&mut self, block: Block, mean: &mut [F]) {
        self.feedback.estimate(block, mean);
    }
    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.feedback.state(of, archive);
    }
    fn numbers(&self) -> [usize; 2] {
        self.feedback.numbers()
    }
}

/// What a rank saw.
struct Seen<F> {
    /// In the order of iterations, hosted workers and variables.
    targets: Vec<Target<F>>,
    /// The server's D^ by iteration.
    estimates: Vec<Vars<F>>,
    /// Gathered messages by iteration and rank.
    messages: Vec<Vec<Vec<u8>>>,
}

fn quadratic() -> Value {
    json!({ "kind": "quadratic", "dim_upper": 13, "dim_lower": 9, "noise": 0.1 })
}

/// Descends along the server's estimates.
fn descend<F: Scalar>(comm: &mut dyn Comm, compressors: &[Value; 3], feedback: &Value) -> Seen<F> {
    let mut tap = Tap { comm, seen: vec![] };
    let hosted = Placement { workers: WORKERS, ranks: RANKS }.hosted(tap.rank());
    let problem = problem::<F>(&quadratic(), WORKERS, hosted.clone());
    let (dims, mut server) = (problem.dims(), problem.start());
    let mut workers = Workers::new(problem);
    let targets = Record::<F>::default();
    let mut links = links(compressors, feedback, dims, hosted);
    links.feedback =
        Box::new(Witnessed { feedback: links.feedback, targets: Arc::clone(&targets) });
    let mut net = Net::new(&mut tap, setting(WORKERS, dims), links);
    let mut copy = server.clone();
    let mut estimates = vec![];
    for k in 0..ITERATIONS {
        net.publish(k, &server, &mut copy).expect("no rank is gone");
        let directions = |draw, d: &mut _| workers.directions(draw, Blocks::ALL, &copy, d);
        if let Some(estimate) = net.mean_at_server(k, directions).expect("no rank is gone") {
            add_scaled(server.as_mut_slice(), F::lit(-0.005), estimate.as_slice());
            estimates.push(estimate.clone());
        }
    }
    drop(net);
    let targets = std::mem::take(&mut *targets.lock().expect("one thread"));
    Seen { targets, estimates, messages: tap.seen }
}

/// A feedback written out for one variable: of a worker whose packets are known, and of the server.
struct Listing<F> {
    kind: String,
    eta: F,
    /// C is sent times this.
    gain: F,
    /// Rate of the memories.
    rate: F,
    /// m_i, E_i and the moving average of each worker.
    memories: Vec<Vec<F>>,
    residuals: Vec<Vec<F>>,
    averages: Vec<Vec<F>>,
    /// m of the server.
    server: Vec<F>,
}

impl<F: Scalar> Listing<F> {
    fn new(feedback: &Value, bound: Bound, dim: usize) -> Self {
        let kind = feedback["kind"].as_str().expect("a name").to_owned();
        let omega = match bound {
            Bound::Unbiased { omega } => omega,
            Bound::Contractive { .. } => 0.0,
        };
        let slow = 1.0 / (1.0 + omega);
        let eta = feedback["eta"].as_f64();
        let scaled = ["residual", "ef21", "ef21-momentum", "econtrol"].contains(&&*kind);
        let rate = match &*kind {
            "memory" => slow,
            "diana" => eta.unwrap_or(slow),
            _ => 1.0,
        };
        let zeros = || vec![vec![F::zero(); dim]; WORKERS];
        Self {
            eta: F::lit(eta.unwrap_or(0.1)),
            gain: F::lit(if scaled { slow } else { 1.0 }),
            rate: F::lit(rate),
            kind,
            memories: zeros(),
            residuals: zeros(),
            averages: zeros(),
            server: vec![F::zero(); dim],
        }
    }

    /// v_i for a direction, and what the worker keeps of it.
    fn target(&mut self, worker: usize, direction: &[F]) -> Vec<F> {
        let (memory, residual) = (&self.memories[worker], &mut self.residuals[worker]);
        let average = &mut self.averages[worker];
        let (eta, one) = (self.eta, F::one());
        let each = direction.iter().enumerate();
        each.map(|(j, &d)| match &*self.kind {
            "none" => d,
            "residual" => {
                residual[j] += d;
                residual[j]
            }
            "memory" | "ef21" | "diana" => d - memory[j],
            "ef21-momentum" => {
                average[j] = (one - eta) * average[j] + eta * d;
                average[j] - memory[j]
            }
            "econtrol" => {
                let v = (d - memory[j]) + eta * residual[j];
                residual[j] += d - memory[j];
                v
            }
            other => panic!("write out {other}"),
        })
        .collect()
    }

    /// Worker's packet has come: what both sides remember of it.
    fn follow(&mut self, worker: usize, mut add: impl FnMut(F, &mut [F])) {
        if self.kind == "residual" || self.kind == "econtrol" {
            add(-self.gain, &mut self.residuals[worker]);
        }
        if self.kind != "residual" && self.kind != "none" {
            add(self.rate * self.gain, &mut self.memories[worker]);
        }
    }

    fn estimate(&mut self, mean: &[F]) -> Vec<F> {
        if self.kind == "residual" || self.kind == "none" {
            return mean.to_vec();
        }
        let estimate = self.server.iter().zip(mean).map(|(&m, &c)| m + c).collect();
        self.server.iter_mut().zip(mean).for_each(|(m, &c)| *m += self.rate * c);
        estimate
    }
}

fn packets_tell_everything<F: Scalar>(compressors: &[Value; 3], feedback: &Value) {
    let ranks = on_ranks(RANKS, |comm| descend::<F>(comm, compressors, feedback));
    let case = format!("{feedback}, {compressors:?}, {}", F::NAME);
    let Seen { estimates, messages, .. } = &ranks[0];
    assert_eq!((estimates.len(), messages.len()), (ITERATIONS as usize, ITERATIONS as usize));
    let dims: Dims = estimates[0].dims();
    let mut coders: Vec<Box<dyn Compressor<F>>> =
        (0..3).map(|b| compressor(&compressors[b], dims.blocks()[b])).collect();
    let mut listings: Vec<Listing<F>> =
        (0..3).map(|b| Listing::new(feedback, coders[b].bound(), dims.blocks()[b])).collect();
    let mut targets: Vec<_> = ranks.iter().map(|rank| rank.targets.iter()).collect();
    for k in 0..ITERATIONS as usize {
        let mut mean = Vars::<F>::zeros(dims);
        for (rank, message) in messages[k].iter().enumerate() {
            let hosted = Placement { workers: WORKERS, ranks: RANKS }.hosted(rank);
            // 16 bytes of envelope; a report of two u64 and an f32 a phase; two f64 a worker.
            let mut rest = &message[16 + 16 + 4 * PHASES + 16 * hosted.len()..];
            for worker in hosted {
                for (b, stream) in [Stream::CompressX, Stream::CompressY, Stream::CompressZ]
                    .into_iter()
                    .enumerate()
                {
                    let target = targets[rank].next().expect("a target for each packet");
                    assert_eq!((target.worker, target.block as usize), (worker, b), "{case}");
                    let listing = &mut listings[b];
                    let expected = listing.target(worker, &target.direction);
                    let same = bits(&expected) == bits(&target.compressed);
                    assert!(same, "{case}: what worker {worker} compresses at {k}");
                    let packet;
                    (packet, rest) = Packet::split(rest).expect("a packet of the worker");
                    let draw = Draw::first(SEED, worker, k as u64);
                    let mut add = |scale: F, out: &mut [F]| {
                        coders[b]
                            .decode_add(packet, draw.key(stream), scale, out)
                            .expect("a packet");
                    };
                    let share = F::lit(1.0 / WORKERS as f64 * listing.gain.wide());
                    add(share, mean.block_mut(target.block));
                    listing.follow(worker, add);
                }
            }
            assert!(rest.is_empty(), "{} bytes behind the last worker", rest.len());
        }
        for block in Block::ALL {
            let expected = listings[block as usize].estimate(mean.block(block));
            let found = estimates[k].block(block);
            assert_eq!(bits(&expected), bits(found), "{case}: D^ of {} at {k}", block.name());
        }
    }
    for listing in listings {
        // Equal but for rounding: the server adds up means, the workers what they sent.
        for (j, m) in listing.server.iter().enumerate() {
            let sum: f64 = listing.memories.iter().map(|memory| memory[j].wide()).sum();
            let off = (sum / WORKERS as f64 - m.wide()).abs();
            assert!(off < 1e3 * F::epsilon().wide() * (1.0 + m.wide().abs()), "{case}: {off}");
        }
    }
}

/// Every registered feedback, and a rate of the user's own.
fn examples() -> Vec<Value> {
    let examples = vec![
        json!({ "kind": "none" }),
        json!({ "kind": "residual" }),
        json!({ "kind": "memory" }),
        json!({ "kind": "ef21" }),
        json!({ "kind": "diana" }),
        json!({ "kind": "diana", "eta": 0.05 }),
        json!({ "kind": "ef21-momentum", "eta": 0.3 }),
        json!({ "kind": "econtrol", "eta": 0.2 }),
    ];
    assert_all_kinds(&feedback::registry(), &examples);
    examples
}

#[test]
fn packets_alone_tell_every_memory() {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.2 });
    let top_k = json!({ "kind": "top-k", "ratio": 0.2 });
    let multi_step = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k });
    for feedback in examples() {
        let unbiased = [multi_step.clone(), rand_k.clone(), rand_k.clone()];
        packets_tell_everything::<f32>(&unbiased, &feedback);
        packets_tell_everything::<f64>(&unbiased, &feedback);
        if feedback["kind"] != "diana" {
            let biased = [top_k.clone(), rand_k.clone(), top_k.clone()];
            packets_tell_everything::<f32>(&biased, &feedback);
        }
    }
}

/// A run on the quadratic problem, workers heterogeneous, without noise.
fn reached(mut config: Value) -> Outcome {
    let algorithm = &mut config["algorithm"];
    for (key, step) in [("alpha", 0.002), ("beta", 0.01), ("gamma", 0.01)] {
        algorithm[key] = json!(step);
    }
    config["name"] = json!("feedback");
    config["workers"] = json!(8);
    config["precision"] = json!("f64");
    config["problem"] = json!({ "kind": "quadratic", "heterogeneity": 1 });
    config["iterations"] = json!(20_000);
    config["evaluate"] = json!({ "every": 20_000, "hypergradient": true });
    run(config)
}

/// |grad Phi| at the end.
fn last_norm(evaluations: &[(u64, Evaluation)]) -> f64 {
    evaluations.last().expect("an evaluation at the end").1.hypergradient_norm
}

#[test]
fn every_feedback_undoes_the_loss_of_a_biased_compressor() {
    let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
    let reached = |config| last_norm(&reached(config).evaluations);
    let soba = reached(json!({ "algorithm": { "kind": "soba" } }));
    let open = reached(json!({ "algorithm": { "kind": "c-soba" }, "compressor": top_k }));
    assert!(open > 20.0 * soba, "without feedback {open}, soba {soba}");
    for feedback in examples().into_iter().filter(|f| f["kind"] != "none" && f["kind"] != "diana") {
        let kind = if feedback["kind"] == "residual" { "c-soba" } else { "ef-soba" };
        let algorithm = json!({ "kind": kind });
        let found =
            reached(json!({ "algorithm": algorithm, "compressor": top_k, "feedback": feedback }));
        println!("{feedback}: {found:.2e}, soba {soba:.2e}, open {open:.2e}");
        assert!(found < 0.1 * open, "{feedback}: {found}, without feedback {open}, soba {soba}");
    }
}

#[test]
fn a_variable_may_be_sent_now_and_then() {
    let identity = json!({ "kind": "identity" });
    let rand_k = |every: u64| json!({ "kind": "rand-k", "ratio": 0.1, "every": every });
    let of_x = |every| json!({ "x": rand_k(every), "y": identity, "z": identity });
    let open =
        reached(json!({ "algorithm": { "kind": "c-soba" }, "compressor": of_x(1) })).evaluations;
    // A residual's floor grows with what it holds back, a memory's does not.
    for (kind, feedback, most) in [("c-soba", "residual", 1.0), ("ef-soba", "ef21", 0.1)] {
        let algorithm = json!({ "kind": kind });
        let seldom = reached(json!({ "algorithm": algorithm, "compressor": of_x(4),
            "feedback": { "kind": feedback } }));
        let (found, open) = (last_norm(&seldom.evaluations), last_norm(&open));
        assert!(found < most * open, "{feedback} every 4: {found}, without feedback {open}");
        // 4 of 40 entries of x in every fourth of 20,000 iterations; y and z of 60 entries always.
        let expected = 8 * (5_000 * (16 + 4 * 8) + 20_000 * 2 * (16 + 60 * 8));
        assert_eq!(seldom.traffic.upload_bytes, expected, "{feedback}");
    }
}
