//! A run that is cut and gone on with by freshly built ranks, more or fewer of them, ends as the one
//! that never was cut: in the iterate's bits, in the bytes that travelled, and in all that is kept.

mod common;

use std::ops::Range;

use serde_json::{Value, json};

use common::methods::{apply, methods, suits};
use common::{bits, on_ranks, plan, problem_examples};
use sobaya::algorithms::Algorithm;
use sobaya::archive::{Archive, ArchiveError, Holder};
use sobaya::comm::{Comm, Placement};
use sobaya::config::Plan;
use sobaya::data::Folder;
use sobaya::net::{Net, Setting, Traffic};
use sobaya::problems;
use sobaya::run::build;
use sobaya::scalar::Scalar;
use sobaya::workers::Workers;

const WORKERS: usize = 5;
const ITERATIONS: u64 = 10;
/// After so many iterations: each of the first few, every place in a cycle of three, and the last.
const CUTS: [u64; 7] = [0, 1, 2, 3, 4, 8, ITERATIONS];

/// One rank of a run.
struct Rank<'c, F> {
    algorithm: Box<dyn Algorithm<F>>,
    workers: Workers<F>,
    net: Net<'c, F>,
}

impl<'c, F: Scalar> Rank<'c, F> {
    fn build(plan: &Plan, comm: &'c mut dyn Comm) -> Self {
        let hosted = Placement { workers: WORKERS, ranks: comm.ranks() }.hosted(comm.rank());
        let built = build::problem::<F>(plan, &Folder::find(None), hosted.clone());
        let problem = built.expect("a good plan");
        let links = build::links::<F>(plan, &*problem, hosted.clone()).expect("a good plan");
        let algorithm = build::algorithm::<F>(plan, &*problem, hosted).expect("a good plan");
        let (dims, seed) = (problem.dims(), plan.seed);
        let setting = Setting { workers: WORKERS, dims, seed, fingerprint: plan.fingerprint() };
        Self { algorithm, workers: Workers::new(problem), net: Net::new(comm, setting, links) }
    }

    fn step(&mut self, iterations: Range<u64>) {
        for k in iterations {
            self.algorithm.step(k, &mut self.workers, &mut self.net).expect("a step");
        }
    }

    fn write(&mut self, of: Holder) -> Vec<u8> {
        let mut bytes = vec![];
        let mut archive = Archive::writing(&mut bytes);
        self.visit(of, &mut archive);
        archive.finish().expect("finite numbers");
        bytes
    }

    fn read(&mut self, of: Holder, bytes: &[u8]) -> Result<(), ArchiveError> {
        let mut archive = Archive::reading(bytes);
        self.visit(of, &mut archive);
        archive.finish()
    }

    fn visit(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.algorithm.state(of, archive);
        self.net.state(of, archive);
    }

    /// This rank's part: everything of the server's, and what its workers have.
    fn state(&mut self) -> State {
        let workers = self.net.hosted().map(|worker| self.write(Holder::Worker(worker))).collect();
        State { server: self.write(Holder::Server), workers }
    }

    fn restore(&mut self, state: &State) {
        self.read(Holder::Server, &state.server).expect("the server's state");
        for worker in self.net.hosted() {
            self.read(Holder::Worker(worker), &state.workers[worker]).expect("a worker's state");
        }
    }
}

/// What a run must remember.
#[derive(Clone, PartialEq)]
struct State {
    server: Vec<u8>,
    workers: Vec<Vec<u8>>,
}

/// What a run has come to.
#[derive(Clone, PartialEq)]
struct Stage {
    iterate: Vec<u8>,
    traffic: Traffic,
    /// As bits.
    losses: [u64; 2],
    state: State,
}

/// The run's stages after each of `stops` iterations, from the start or from a state after `done`
/// iterations, on freshly built ranks.
fn stages<F: Scalar>(
    plan: &Plan,
    ranks: usize,
    from: Option<&State>,
    done: u64,
    stops: &[u64],
) -> Vec<Stage> {
    let by_rank = on_ranks(ranks, |comm| {
        let mut rank = Rank::<F>::build(plan, comm);
        if let Some(state) = from {
            rank.restore(state);
        }
        let mut done = done;
        let mut stage = |&stop: &u64| {
            rank.step(std::mem::replace(&mut done, stop)..stop);
            let iterate = bits(rank.algorithm.iterate().as_slice()).to_vec();
            let (traffic, losses) = (rank.net.traffic(), rank.net.losses());
            let losses = [losses.upper, losses.lower].map(f64::to_bits);
            Stage { iterate, traffic, losses, state: rank.state() }
        };
        stops.iter().map(&mut stage).collect::<Vec<_>>()
    });
    let mut by_rank = by_rank.into_iter();
    let mut all = by_rank.next().expect("the root");
    for stages in by_rank {
        for (root, stage) in all.iter_mut().zip(stages) {
            root.state.workers.extend(stage.state.workers);
        }
    }
    all
}

/// Runs a plan uncut, and with each of these cuts; `variant` tells on how many ranks.
fn assert_uncut<F: Scalar>(name: &str, plan: &Plan, variant: usize, cuts: &[u64]) {
    let ranks = |which: usize| 1 + (variant + which) % WORKERS;
    let stops = [cuts, &[ITERATIONS]].concat();
    let uncut = stages::<F>(plan, ranks(1), None, 0, &[ITERATIONS]);
    let saved = stages::<F>(plan, ranks(0), None, 0, &stops);
    assert!(saved.last() == uncut.last(), "{name}: writing its state changed the run");
    for (which, (&cut, stage)) in cuts.iter().zip(&saved).enumerate() {
        let mut lengths = stage.state.workers.iter().map(Vec::len);
        let first = lengths.next();
        assert!(lengths.all(|length| Some(length) == first), "{name}: workers differ in length");
        let ranks = ranks(1 + which % (WORKERS - 1));
        let end = stages::<F>(plan, ranks, Some(&stage.state), cut, &[ITERATIONS]);
        assert_same(&format!("{name} cut at {cut}, then on {ranks} ranks"), &end[0], &uncut[0]);
    }
    assert_lengths_are_checked::<F>(name, plan, &saved[0].state);
}

fn assert_same(case: &str, found: &Stage, expected: &Stage) {
    assert!(found.iterate == expected.iterate, "{case}: another iterate");
    assert_eq!(found.traffic, expected.traffic, "{case}");
    assert_eq!(found.losses, expected.losses, "{case}");
    assert!(found.state.server == expected.state.server, "{case}: another server's state");
    for (worker, (found, expected)) in
        found.state.workers.iter().zip(&expected.state.workers).enumerate()
    {
        assert!(found == expected, "{case}: another state of worker {worker}");
    }
    assert!(found == expected, "{case}: another number of workers");
}

/// A state of another length is refused.
fn assert_lengths_are_checked<F: Scalar>(name: &str, plan: &Plan, state: &State) {
    on_ranks(1, |comm| {
        let mut rank = Rank::<F>::build(plan, comm);
        let workers = state.workers.iter().enumerate();
        let workers = workers.map(|(worker, bytes)| (Holder::Worker(worker), bytes));
        for (of, bytes) in workers.chain([(Holder::Server, &state.server)]) {
            let expected = bytes.len();
            for wrong in [&bytes[..expected / 2], &[bytes, &[0][..]].concat()] {
                let found = wrong.len();
                if found != expected {
                    let error = Err(ArchiveError::Length { found, expected });
                    assert_eq!(rank.read(of, wrong), error, "{name}: {of:?}");
                }
            }
        }
    });
}

/// The same in the precision of the plan.
fn assert_uncut_of(config: Value, variant: usize, cuts: &[u64]) {
    let plan = plan(config.clone());
    let name = config["name"].as_str().expect("a name");
    match config["precision"].as_str() {
        Some("f64") => assert_uncut::<f64>(name, &plan, variant, cuts),
        _ => assert_uncut::<f32>(name, &plan, variant, cuts),
    }
}

/// A run of a problem, to be given a method.
fn config(problem: &Value) -> Value {
    let mut config = json!({ "name": "state", "workers": WORKERS, "iterations": ITERATIONS,
        "problem": problem });
    if problems::registry().facts(problem).partitioned {
        config["partition"] = json!({ "kind": "dirichlet", "concentration": 1 });
    }
    config
}

/// Methods that keep more than those of the common table, or send it otherwise.
fn more_methods() -> Vec<(&'static str, Value)> {
    let ef_soba = json!({ "kind": "ef-soba", "theta": 0.2 });
    let shared = json!({ "kind": "rand-block", "ratio": 0.1, "shared": true });
    let seldom = |feedback: &str| {
        json!({ "algorithm": ef_soba, "feedback": { "kind": feedback },
            "compressor": { "kind": "top-k", "ratio": 0.1, "every": 3 },
            "downlink": { "kind": "difference", "compressor": { "kind": "natural" } } })
    };
    vec![
        ("seldom-memory", seldom("memory")),
        ("seldom-momentum", seldom("ef21-momentum")),
        ("seldom-econtrol", seldom("econtrol")),
        (
            "segments",
            json!({ "algorithm": ef_soba, "compressor": shared, "downlink": { "kind": "sum" },
                "wire": { "collective": "segments" } }),
        ),
        (
            "low-rank-memory",
            json!({ "algorithm": ef_soba, "compressor": { "kind": "low-rank", "rank": 2, "every": 3 } }),
        ),
    ]
}

#[test]
fn every_method_goes_on_where_it_was_cut() {
    let images = |more: Value| {
        let mut problem = json!({ "dataset": "mnist-small", "batch_lower": 4, "batch_upper": 4 });
        problem.as_object_mut().expect("keys").extend(more.as_object().expect("keys").clone());
        problem
    };
    let quadratic = json!({ "kind": "quadratic", "dim_upper": 13, "dim_lower": 9, "noise": 0.1 });
    let cleaning = images(json!({ "kind": "hyper-cleaning", "samples": 300 }));
    let representation = images(json!({ "kind": "hyper-representation", "hidden": [5] }));
    // Images take longer to build: each method meets one precision on either problem.
    for (problem, steps, precisions) in [
        (quadratic, [0.002, 0.01, 0.01], [&["f32", "f64"][..]; 2]),
        (cleaning, [100.0, 0.05, 0.05], [&["f32"], &["f64"]]),
        (representation, [0.1, 0.1, 0.1], [&["f64"], &["f32"]]),
    ] {
        for (variant, (name, method)) in methods().into_iter().chain(more_methods()).enumerate() {
            if !suits(&problem, &method) {
                continue;
            }
            for precision in precisions[variant % 2] {
                let mut config = config(&problem);
                apply(&mut config, &method, steps);
                let kind = problem["kind"].as_str().expect("a kind");
                config["name"] = json!(format!("{kind}-{name}-{precision}"));
                config["precision"] = json!(precision);
                assert_uncut_of(config, variant, &CUTS);
            }
        }
    }
}

/// What a problem keeps between its calls may not matter: it is not asked for a state.
#[test]
fn every_problem_goes_on_where_it_was_cut() {
    let method = json!({ "algorithm": { "kind": "ef-soba" },
        "compressor": { "kind": "rand-k", "ratio": 0.2 } });
    for (variant, problem) in problem_examples().into_iter().enumerate() {
        for precision in ["f32", "f64"] {
            let mut config = config(&problem);
            apply(&mut config, &method, [0.01, 0.05, 0.05]);
            config["precision"] = json!(precision);
            config["name"] = json!(format!("problem-{variant}-{precision}"));
            assert_uncut_of(config, variant, &[1, 4]);
        }
    }
}
