//! Algorithms that make several rounds an iteration: each is held to its listing, written out here in
//! a plain way, and reaches what theory says.

use serde_json::{Value, json};

use crate::common::{SEED, WORKERS, distance, problem, run};
use sobaya::problems::{Draw, Problem};
use sobaya::vars::{Block, Blocks, Vars, dot};

const ITERATIONS: u64 = 25;

fn quadratic(noise: f64) -> Value {
    json!({ "kind": "quadratic", "heterogeneity": 1, "noise": noise })
}

/// (x, y, z) after some iterations of the program.
fn found(algorithm: &Value, noise: f64, iterations: u64) -> Vars<f64> {
    let identity = json!({ "kind": "identity" });
    crate::common::iterate::<f64>(&quadratic(noise), algorithm, &identity, iterations)
}

/// The workers of the noisy quadratic problem, and where the run is.
struct ByHand {
    problem: Box<dyn Problem<f64>>,
    at: Vars<f64>,
    k: u64,
}

impl ByHand {
    fn new() -> Self {
        let problem = problem::<f64>(&quadratic(0.1), WORKERS, 0..WORKERS);
        Self { at: problem.start(), problem, k: 0 }
    }

    /// The mean over workers of what `local` computes with these mini-batches.
    fn mean(
        &mut self,
        [lower, upper]: [u32; 2],
        local: impl Fn(&mut dyn Problem<f64>, Draw, &Vars<f64>) -> Vec<f64>,
    ) -> Vec<f64> {
        let mut mean = vec![];
        for worker in 0..WORKERS {
            let draw = Draw { seed: SEED, worker, iteration: self.k, lower, upper };
            let v = local(&mut *self.problem, draw, &self.at);
            mean.resize(v.len(), 0.0);
            mean.iter_mut().zip(v).for_each(|(mean, v)| *mean += v / WORKERS as f64);
        }
        mean
    }

    /// One variable of the mean direction.
    fn direction(&mut self, block: Block, batches: [u32; 2]) -> Vec<f64> {
        self.mean(batches, |problem, draw, at| direction(problem, draw, at, block))
    }

    fn step(&mut self, block: Block, size: f64, d: &[f64]) {
        self.at.block_mut(block).iter_mut().zip(d).for_each(|(v, d)| *v -= size * d);
    }
}

fn direction(problem: &mut dyn Problem<f64>, draw: Draw, at: &Vars<f64>, block: Block) -> Vec<f64> {
    let mut d = Vars::zeros(at.dims());
    problem.directions(draw, Blocks::ALL, at, &mut d);
    d.block(block).to_vec()
}

fn assert_same(found: &Vars<f64>, expected: &Vars<f64>) {
    let off = distance(found.as_slice(), expected.as_slice());
    assert!(off < 1e-12, "{off:e}");
}

#[test]
fn amigo_is_its_listing() {
    let algorithm = json!({ "kind": "amigo", "alpha": 0.05, "beta": 0.1, "gamma": 0.12,
        "inner_steps": 3, "linear_steps": 2, "rho": 4 });
    let mut hand = ByHand::new();
    let mut clipped = 0;
    for k in 0..ITERATIONS {
        hand.k = k;
        for lower in 0..3 {
            let d = hand.direction(Block::Y, [lower, 0]);
            hand.step(Block::Y, 0.1, &d);
        }
        for lower in 3..5 {
            let d = hand.direction(Block::Z, [lower, 0]);
            hand.step(Block::Z, 0.12, &d);
            let z = hand.at.block_mut(Block::Z);
            let length = dot(z, z).sqrt();
            clipped += u32::from(length > 4.0);
            z.iter_mut().for_each(|z| *z *= (4.0 / length).min(1.0));
        }
        let d = hand.direction(Block::X, [5, 0]);
        hand.step(Block::X, 0.05, &d);
    }
    assert!(clipped > 0, "the clip never binds");
    assert_same(&found(&algorithm, 0.1, ITERATIONS), &hand.at);
}

#[test]
fn stocbio_is_its_listing() {
    let algorithm = json!({ "kind": "stocbio", "alpha": 0.05, "beta": 0.1, "eta": 0.12,
        "inner_steps": 3, "neumann_steps": 2 });
    let mut hand = ByHand::new();
    for k in 0..ITERATIONS {
        hand.k = k;
        for lower in 0..3 {
            let d = hand.direction(Block::Y, [lower, 0]);
            hand.step(Block::Y, 0.1, &d);
        }
        hand.at.block_mut(Block::Z).fill(0.0);
        for lower in 3..6 {
            let d = hand.direction(Block::Z, [lower, 0]);
            hand.step(Block::Z, 0.12, &d);
        }
        let d = hand.direction(Block::X, [6, 0]);
        hand.step(Block::X, 0.05, &d);
    }
    assert_same(&found(&algorithm, 0.1, ITERATIONS), &hand.at);
}

/// eta sum_{q=-1}^{Q-1} (I - eta H)^{q+1} grad_y f, term by term from the workers' Hessians.
#[test]
fn the_steps_of_stocbio_are_the_neumann_series() {
    let (eta, terms) = (0.15, 8);
    let algorithm = json!({ "kind": "stocbio", "alpha": 0.05, "beta": 0.1, "eta": eta,
        "inner_steps": 5, "neumann_steps": terms });
    let found = found(&algorithm, 0.0, 1);
    let problem = problem::<f64>(&quadratic(0.0), WORKERS, 0..WORKERS);
    let start = problem.start();
    let mean = |local: &dyn Fn(usize, &mut [f64])| {
        let mut mean = vec![0.0; start.y().len()];
        for worker in 0..WORKERS {
            let mut v = mean.clone();
            local(worker, &mut v);
            mean.iter_mut().zip(v).for_each(|(mean, v)| *mean += v / WORKERS as f64);
        }
        mean
    };
    let full = |worker| problem.full(worker, start.x());
    let mut power = mean(&|worker, out| full(worker).upper_gradient(found.y(), out));
    let mut sum = power.clone();
    for _ in 0..terms {
        let image = mean(&|worker, out| full(worker).lower_hessian(found.y(), &power, out));
        power.iter_mut().zip(image).for_each(|(v, image)| *v -= eta * image);
        sum.iter_mut().zip(&power).for_each(|(sum, v)| *sum += v);
    }
    let expected: Vec<f64> = sum.iter().map(|sum| -eta * sum).collect();
    let off = distance(found.z(), &expected);
    assert!(off < 1e-12, "{off:e}");
}

#[test]
fn f2sa_is_its_listing() {
    let algorithm = json!({ "kind": "f2sa", "alpha": 0.01, "beta": 0.1, "gamma": 0.02,
        "lambda": 2, "lambda_step": 0.25, "inner_steps": 3 });
    let mut hand = ByHand::new();
    let mut lambda = 2.0;
    // (x, u, 0), where directions are those of the losses alone.
    let penalised = |at: &Vars<f64>| {
        let mut point = at.clone();
        point.block_mut(Block::Y).copy_from_slice(at.z());
        point.block_mut(Block::Z).fill(0.0);
        point
    };
    for k in 0..ITERATIONS {
        hand.k = k;
        for t in 0..3 {
            let dy = hand.direction(Block::Y, [2 * t, t]);
            let du = hand.mean([2 * t + 1, t], |problem, draw, at| {
                let f = direction(problem, draw, &penalised(at), Block::Z);
                let g = direction(problem, draw, &penalised(at), Block::Y);
                f.iter().zip(g).map(|(f, g)| f + lambda * g).collect()
            });
            hand.step(Block::Y, 0.1, &dy);
            hand.step(Block::Z, 0.02, &du);
        }
        let dx = hand.mean([6, 3], |problem, draw, at| {
            let [mut penalty, mut lower] = [(); 2].map(|()| vec![0.0; at.x().len()]);
            problem.lower_gradient_x(draw, &penalised(at), &mut penalty);
            problem.lower_gradient_x(draw, at, &mut lower);
            let f = direction(problem, draw, &penalised(at), Block::X);
            let g = penalty.iter().zip(lower).map(|(penalty, lower)| penalty - lower);
            f.iter().zip(g).map(|(f, g)| f + lambda * g).collect()
        });
        hand.step(Block::X, 0.01, &dx);
        lambda += 0.25;
    }
    assert_same(&found(&algorithm, 0.1, ITERATIONS), &hand.at);
}

/// |grad Phi| at the start and at the end, and the last |z - z*|, without noise.
fn reached(algorithm: &Value) -> [f64; 3] {
    let outcome = run(json!({ "name": "test", "precision": "f64", "workers": WORKERS,
        "iterations": 800, "problem": quadratic(0.0), "algorithm": algorithm,
        "evaluate": { "every": 800, "hypergradient": true } }));
    let [first, last] = [0, 1].map(|i| outcome.evaluations[i].1);
    println!("{algorithm}: {:.3e} to {:.3e}", first.hypergradient_norm, last.hypergradient_norm);
    [first.hypergradient_norm, last.hypergradient_norm, last.auxiliary_distance]
}

#[test]
fn each_reaches_the_solution() {
    let amigo = json!({ "kind": "amigo", "alpha": 0.1, "beta": 0.1, "gamma": 0.1 });
    let stocbio = json!({ "kind": "stocbio", "alpha": 0.1, "beta": 0.1, "eta": 0.2,
        "neumann_steps": 40 });
    for algorithm in [amigo, stocbio] {
        let [first, last, auxiliary] = reached(&algorithm);
        assert!(last < 1e-3 * first, "{algorithm}: {first} to {last}");
        assert!(auxiliary < 1e-2, "{algorithm}: z is off by {auxiliary}");
    }
}

/// The penalty's minimiser is off by a constant over lambda.
#[test]
fn f2sa_reaches_the_solution_but_for_one_over_lambda() {
    let [tenth, whole] = [100.0, 1000.0].map(|lambda| {
        let algorithm = json!({ "kind": "f2sa", "alpha": 0.1, "beta": 0.2,
            "gamma": 0.2 / lambda, "lambda": lambda });
        let [first, last, auxiliary] = reached(&algorithm);
        assert!(auxiliary.is_nan(), "its z is no such thing");
        last / first
    });
    assert!(whole < 1e-3, "{whole}");
    assert!((8.0..12.0).contains(&(tenth / whole)), "{tenth} to {whole}");
}
