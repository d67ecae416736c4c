//! Every registered algorithm follows its listing, counts its bytes, and on heterogeneous workers
//! reaches what theory says: error feedback the uncompressed accuracy, compression alone not.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::common::{SEED, WORKERS, assert_all_kinds, compressor, distance, packed, problem, run};
use sobaya::algorithms;
use sobaya::problems::Draw;
use sobaya::run::Outcome;
use sobaya::scalar::Scalar;
use sobaya::vars::{Blocks, Vars, norm};

const STEPS: [f64; 3] = [0.002, 0.01, 0.01];
/// p and q of the quadratic problem by default.
const DIMS: [u64; 2] = [40, 60];

/// An algorithm's parameters with the step sizes of all tests.
fn algorithm(kind: &str, more: Value) -> Value {
    let [alpha, beta, gamma] = STEPS;
    let mut config = json!({ "kind": kind, "alpha": alpha, "beta": beta, "gamma": gamma });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// Parameters of the algorithms that move all variables at once, with their moving average's weight.
fn single_loops(theta: f64) -> Vec<Value> {
    vec![
        algorithm("soba", json!({})),
        algorithm("c-soba", json!({})),
        algorithm("cm-soba", json!({ "theta": theta })),
        algorithm("ef-soba", json!({ "theta": theta })),
        algorithm("ef-soba", json!({ "theta": theta, "momentum": "worker" })),
        algorithm("ma-soba", json!({ "theta": theta })),
    ]
}

/// Parameters of every registered algorithm; `tests/library/double_loops.rs` has more on those with loops.
fn examples() -> Vec<Value> {
    let mut examples = single_loops(0.1);
    examples.extend([
        json!({ "kind": "amigo", "alpha": 0.02, "beta": 0.1, "gamma": 0.1, "inner_steps": 3,
            "linear_steps": 4 }),
        json!({ "kind": "stocbio", "alpha": 0.02, "beta": 0.1, "eta": 0.2, "inner_steps": 3,
            "neumann_steps": 10 }),
        json!({ "kind": "f2sa", "alpha": 0.02, "beta": 0.1, "gamma": 0.005, "lambda": 20,
            "inner_steps": 3 }),
    ]);
    examples.extend([
        algorithm("d-soba", json!({ "theta": 0.5 })),
        algorithm("d-soba-fo", json!({})),
        algorithm("sparkle", json!({ "strategy": { "x": "atc-gt", "y": "ed", "z": "gossip" } })),
    ]);
    assert_all_kinds(&algorithms::registry(), &examples);
    examples
}

fn rand_k() -> Value {
    json!({ "kind": "rand-k", "ratio": 0.1 })
}

fn is_compressed(algorithm: &Value) -> bool {
    algorithms::registry().facts(algorithm).compressed
}

/// A run on the quadratic problem, workers heterogeneous, directions without noise.
fn config(algorithm: &Value, compressor: &Value, precision: &str, iterations: u64) -> Value {
    let mut config = json!({ "name": "test", "precision": precision, "workers": WORKERS,
        "iterations": iterations, "problem": { "kind": "quadratic", "heterogeneity": 1 },
        "algorithm": algorithm, "evaluate": { "every": iterations / 40, "hypergradient": true } });
    if is_compressed(algorithm) {
        config["compressor"] = compressor.clone();
    }
    config
}

fn outcome(algorithm: &Value, compressor: &Value, precision: &str, iterations: u64) -> Outcome {
    run(config(algorithm, compressor, precision, iterations))
}

/// |grad Phi| that 20,000 iterations settle at: root mean square over the last quarter of runs from
/// these many seeds.
fn reached(algorithm: Value, compressor: Value, seeds: u64) -> f64 {
    let mut norms = vec![];
    for seed in 0..seeds {
        let mut config = config(&algorithm, &compressor, "f64", 20_000);
        config["seed"] = json!(seed);
        let last = run(config).evaluations.into_iter().filter(|(k, _)| *k > 15_000);
        norms.extend(last.map(|(_, evaluation)| evaluation.hypergradient_norm));
    }
    let reached = norm(&norms) / (norms.len() as f64).sqrt();
    println!("{algorithm} with {compressor}: {reached:.3e}");
    reached
}

static SOBA: LazyLock<f64> = LazyLock::new(|| reached(algorithm("soba", json!({})), rand_k(), 1));
static CM_SOBA: LazyLock<f64> =
    LazyLock::new(|| reached(algorithm("cm-soba", json!({ "theta": 0.1 })), rand_k(), 3));

#[test]
fn error_feedback_reaches_the_uncompressed_accuracy() {
    for momentum in ["server", "worker"] {
        let ef_soba = algorithm("ef-soba", json!({ "theta": 0.1, "momentum": momentum }));
        let reached = reached(ef_soba, rand_k(), 1);
        assert!(reached < 1.5 * *SOBA, "momentum at the {momentum}: {reached}, soba {}", *SOBA);
    }
}

#[test]
fn compression_alone_stalls() {
    let c_soba = reached(algorithm("c-soba", json!({})), rand_k(), 1);
    for reached in [c_soba, *CM_SOBA] {
        assert!(reached > 20.0 * *SOBA, "{reached}, soba {}", *SOBA);
    }
}

/// Where compression alone stalls, |grad Phi| is as the square root of omega: 9 for one round, and
/// s^3 / (1 - s^3) with s = 0.9 for three.
#[test]
fn more_rounds_stall_lower_by_the_square_root_of_their_variance() {
    let rounds = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k() });
    let reached = reached(algorithm("cm-soba", json!({ "theta": 0.1 })), rounds, 3);
    let theory = (0.729f64 / 0.271 / 9.0).sqrt();
    let seen = reached / *CM_SOBA;
    assert!((seen / theory - 1.0).abs() < 0.15, "{seen} of one round's, theory {theory}");
}

#[test]
fn every_algorithm_descends() {
    for algorithm in examples() {
        for precision in ["f32", "f64"] {
            let iterations = if algorithm["inner_steps"].is_null() { 4000 } else { 400 };
            let outcome = outcome(&algorithm, &rand_k(), precision, iterations);
            let norms: Vec<f64> =
                outcome.evaluations.iter().map(|(_, e)| e.hypergradient_norm).collect();
            let (first, last) = (norms[0], norms[norms.len() - 1]);
            assert!(last < 0.2 * first, "{algorithm}, {precision}: {first} to {last}");
        }
    }
}

/// Editors complete and check by the schema.
#[test]
fn the_schema_has_every_key_of_the_examples() {
    let schema = sobaya::config::schema();
    let kinds = schema["properties"]["algorithm"]["oneOf"].as_array().expect("a list of kinds");
    for algorithm in examples() {
        let kind = kinds.iter().find(|k| k["properties"]["kind"]["const"] == algorithm["kind"]);
        let kind = kind.expect("every kind has a schema");
        assert_eq!(kind["additionalProperties"], json!(false), "{algorithm}");
        for key in algorithm.as_object().expect("an object").keys() {
            assert!(kind["properties"].get(key).is_some(), "{algorithm}: {key}");
        }
    }
}

#[test]
fn traffic_is_the_length_of_the_packets() {
    let iterations = 40;
    let [p, q] = DIMS;
    let blocks = [p, q, q];
    for algorithm in examples() {
        let packet = |d: u64, bytes: u64| bytes * d + 16;
        let dense = |bytes: u64| match algorithm["kind"].as_str() {
            Some("amigo") => 7 * packet(q, bytes) + packet(p, bytes),
            Some("stocbio") => (3 + 11) * packet(q, bytes) + packet(p, bytes),
            Some("f2sa") => 3 * 2 * packet(q, bytes) + packet(p, bytes),
            // On a ring, each agent to two others; trackers go along.
            Some("d-soba" | "d-soba-fo") => 2 * (packet(p, bytes) + 2 * packet(q, bytes)),
            Some("sparkle") => 2 * (2 * packet(p, bytes) + 2 * packet(q, bytes)),
            _ => blocks.iter().map(|&d| packet(d, bytes)).sum(),
        };
        let sent = match is_compressed(&algorithm) {
            false => dense(4),
            true => {
                let length = |d: u64| {
                    let mut compressor = compressor::<f32>(&rand_k(), d as usize);
                    packed(&mut *compressor, &vec![1.0; d as usize], crate::common::key(0)).len()
                };
                blocks.iter().map(|&d| length(d) as u64).sum()
            }
        };
        let messages = iterations * WORKERS as u64;
        let traffic = outcome(&algorithm, &rand_k(), "f32", iterations).traffic;
        assert_eq!(traffic.upload_bytes, messages * sent, "{algorithm}");
        assert_eq!(traffic.download_bytes, messages * dense(4), "{algorithm}");
        let traffic = outcome(&algorithm, &rand_k(), "f64", iterations).traffic;
        assert_eq!(traffic.download_bytes, messages * dense(8), "{algorithm}");
    }
}

fn noisy() -> Value {
    json!({ "kind": "quadratic", "heterogeneity": 1, "noise": 0.1 })
}

/// (x, y, z) after some iterations on the noisy quadratic problem.
fn iterate<F: Scalar>(algorithm: &Value, compressor: &Value, iterations: u64) -> Vars<f64> {
    crate::common::iterate::<F>(&noisy(), algorithm, compressor, iterations)
}

#[test]
fn precisions_agree_to_single_precision() {
    for algorithm in examples() {
        let single = iterate::<f32>(&algorithm, &rand_k(), 20);
        let double = iterate::<f64>(&algorithm, &rand_k(), 20);
        let off = distance(single.as_slice(), double.as_slice());
        assert!(off > 0.0 && off < 2e-6, "{algorithm}: {off:e}");
    }
}

/// SOBA with a moving average of the hypergradient, written out.
fn by_hand(theta: f64, rho: f64, iterations: u64) -> Vars<f64> {
    let mut problem = problem::<f64>(&noisy(), WORKERS, 0..WORKERS);
    let mut v = problem.start();
    let mut h = vec![0.0; v.x().len()];
    for iteration in 0..iterations {
        let mut mean = Vars::<f64>::zeros(v.dims());
        for worker in 0..WORKERS {
            let mut d = Vars::zeros(v.dims());
            problem.directions(Draw::first(SEED, worker, iteration), Blocks::ALL, &v, &mut d);
            for (mean, d) in mean.as_mut_slice().iter_mut().zip(d.as_slice()) {
                *mean += d / WORKERS as f64;
            }
        }
        let (x, y, z) = v.split_mut();
        for j in 0..x.len() {
            h[j] = (1.0 - theta) * h[j] + theta * mean.x()[j];
            x[j] -= STEPS[0] * h[j];
        }
        for j in 0..y.len() {
            y[j] -= STEPS[1] * mean.y()[j];
            z[j] -= STEPS[2] * mean.z()[j];
        }
        let length = z.iter().map(|z| z * z).sum::<f64>().sqrt();
        z.iter_mut().for_each(|z| *z *= (rho / length).min(1.0));
    }
    v
}

#[test]
fn without_compression_every_algorithm_is_its_listing() {
    let identity = json!({ "kind": "identity" });
    for (theta, rho) in [(1.0, 1e9), (0.3, 1e9), (0.3, 0.5)] {
        let averaged = by_hand(theta, rho, 300);
        let plain = by_hand(1.0, rho, 300);
        let length = norm(averaged.z());
        assert!(
            rho > 1.0 || (length / rho - 1.0).abs() < 1e-12,
            "the clip does not bind: {length}"
        );
        for mut algorithm in single_loops(theta) {
            algorithm["rho"] = json!(rho);
            let expected = if algorithm["theta"].is_null() { &plain } else { &averaged };
            let found = iterate::<f64>(&algorithm, &identity, 300);
            let off = distance(found.as_slice(), expected.as_slice());
            assert!(off < 1e-12, "{algorithm}: {off:e}");
        }
    }
}

#[test]
fn c_soba_without_compression_is_soba_to_the_bit() {
    let identity = json!({ "kind": "identity" });
    for precision in ["f32", "f64"] {
        let [soba, c_soba, with_rand_k] =
            [("soba", &identity), ("c-soba", &identity), ("c-soba", &rand_k())].map(
                |(kind, compressor)| {
                    outcome(&algorithm(kind, json!({})), compressor, precision, 200)
                },
            );
        assert_eq!(soba.state_hash, c_soba.state_hash, "{precision}");
        assert_eq!(soba.traffic, c_soba.traffic, "{precision}");
        assert_ne!(soba.state_hash, with_rand_k.state_hash, "{precision}");
    }
}
