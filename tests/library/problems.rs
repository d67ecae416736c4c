//! Problems' directions by closed form and by an independent evaluation of the losses (by finite
//! differences: gradients.rs), one by one; and the exact hypergradient is exact.

use ndarray::{Array1, Array2};
use ndarray_linalg::Solve;
use serde_json::{Value, json};

use crate::common::hyper_dual::{self, Batch};
use crate::common::{
    Levels, SEED, alone, bits, distance, normal, on_ranks, problem, problem_examples,
    regularization_examples, svmlight, uncompressed_net,
};
use sobaya::evaluate::{self, Exact};
use sobaya::problems::{Draw, FullSample, Losses, Problem};
use sobaya::scalar::Scalar;
use sobaya::vars::{Block, Blocks, Dims, Vars, add_scaled, dot, norm};

/// A variable's direction is the same whichever others are asked for.
#[test]
fn directions_may_be_asked_for_one_by_one() {
    for config in problem_examples() {
        let mut problem = problem::<f64>(&config, 4, 1..3);
        let mut at = problem.start();
        let shift = normal::<f64>(at.dims().total(), 5);
        add_scaled(at.as_mut_slice(), 0.1, &shift);
        let draw = Draw { lower: 3, upper: 1, ..Draw::first(SEED, 2, 5) };
        let mut all = Vars::zeros(at.dims());
        let losses = problem.directions(draw, Blocks::ALL, &at, &mut all);
        assert!(losses.upper.is_finite() && losses.lower.is_finite(), "{config}");
        for wanted in [&[Block::Y][..], &[Block::Z], &[Block::X], &[Block::Y, Block::Z]] {
            let mut some = Vars::zeros(at.dims());
            problem.directions(draw, Blocks::of(wanted), &at, &mut some);
            for &block in wanted {
                let off = distance(some.block(block), all.block(block));
                assert!(off < 1e-12, "{config}, {} of {wanted:?}: {off:e}", block.name());
            }
        }
        let again = Draw { lower: 4, ..draw };
        let mut other = Vars::zeros(at.dims());
        problem.directions(again, Blocks::ALL, &at, &mut other);
        let fixed = config["kind"] == "quadratic" && config["noise"] == 0.0;
        assert_eq!(other.y() == all.y(), fixed, "{config}: another batch");
    }
}

/// A quadratic problem's matrices and vectors, found out by probing.
struct Probed {
    h: Array2<f64>,
    j: Array2<f64>,
    b: Array1<f64>,
    t: Array1<f64>,
    q: Array1<f64>,
    mu: f64,
}

impl Probed {
    fn of(problem: &dyn Problem<f64>, worker: usize) -> Self {
        let Dims { upper: p, lower: q } = problem.dims();
        let unit = |len: usize, at: usize| -> Vec<f64> {
            (0..len).map(|i| f64::from(u8::from(i == at))).collect()
        };
        let vector = |len: usize, write: &dyn Fn(&mut [f64])| {
            let mut out = vec![f64::NAN; len];
            write(&mut out);
            Array1::from(out)
        };
        let (x, y) = (vec![0.0; p], vec![0.0; q]);
        let at_zero = problem.full(worker, &x);
        let b = -vector(q, &|out| at_zero.lower_gradient(&y, out));
        let upper = vector(p, &|out| at_zero.hypergradient(&y, &y, out));
        let mut h = Array2::zeros((q, q));
        for (i, mut column) in h.columns_mut().into_iter().enumerate() {
            column.assign(&vector(q, &|out| at_zero.lower_hessian(&y, &unit(q, i), out)));
        }
        let mut j = Array2::zeros((q, p));
        for (i, mut column) in j.columns_mut().into_iter().enumerate() {
            let x = unit(p, i);
            let moved = problem.full(worker, &x);
            column.assign(&-(vector(q, &|out| moved.lower_gradient(&y, out)) + &b));
        }
        let x = unit(p, 0);
        let moved = problem.full(worker, &x);
        let mu = vector(p, &|out| moved.hypergradient(&y, &y, out))[0] - upper[0];
        let t = -vector(q, &|out| at_zero.upper_gradient(&y, out));
        Self { h, j, b, t, q: upper, mu }
    }

    fn mean(all: &[Self]) -> Self {
        let share = 1.0 / all.len() as f64;
        let vector = |part: fn(&Self) -> &Array1<f64>| {
            all.iter().fold(0.0 * part(&all[0]), |sum, one| sum + share * part(one))
        };
        let matrix = |part: fn(&Self) -> &Array2<f64>| {
            all.iter().fold(0.0 * part(&all[0]), |sum, one| sum + share * part(one))
        };
        let (b, t, q) = (vector(|one| &one.b), vector(|one| &one.t), vector(|one| &one.q));
        Self { h: matrix(|one| &one.h), j: matrix(|one| &one.j), b, t, q, mu: all[0].mu }
    }

    /// D_x, D_y, D_z at a point, and f and g.
    fn directions(&self, x: &[f64], y: &[f64], z: &[f64]) -> ([Vec<f64>; 3], Losses) {
        let array = |v: &[f64]| Array1::from(v.to_vec());
        let (x, y, z) = (array(x), array(y), array(z));
        let away = &y - &self.t;
        let losses = Losses {
            upper: 0.5 * away.dot(&away) + 0.5 * self.mu * x.dot(&x) + self.q.dot(&x),
            lower: 0.5 * y.dot(&self.h.dot(&y)) - y.dot(&(self.j.dot(&x) + &self.b)),
        };
        let dx = self.mu * &x + &self.q - self.j.t().dot(&z);
        let dy = self.h.dot(&y) - self.j.dot(&x) - &self.b;
        let dz = self.h.dot(&z) + away;
        ([dx, dy, dz].map(|d| d.to_vec()), losses)
    }

    fn solution(&self, x: &[f64]) -> Exact {
        let target = self.j.dot(&Array1::from(x.to_vec())) + &self.b;
        let y = self.h.solve(&target).expect("H is regular");
        let z = -self.h.solve(&(&y - &self.t)).expect("H is regular");
        let (y, z) = (y.to_vec(), z.to_vec());
        let ([hypergradient, ..], _) = self.directions(x, &y, &z);
        Exact { y, z, hypergradient }
    }
}

#[test]
fn the_quadratic_has_its_closed_form() {
    let (workers, config) = (5, &problem_examples()[0]);
    let mut all = problem::<f64>(config, workers, 0..workers);
    let locals: Vec<Probed> = (0..workers).map(|worker| Probed::of(&*all, worker)).collect();
    assert!(distance(&locals[0].b.to_vec(), &locals[1].b.to_vec()) > 0.1, "equal workers");

    let mut at = Vars::zeros(all.dims());
    at.as_mut_slice().copy_from_slice(&normal::<f64>(all.dims().total(), 2));
    for (worker, local) in locals.iter().enumerate() {
        let mut out = Vars::zeros(all.dims());
        let losses = all.directions(Draw::first(SEED, worker, 0), Blocks::ALL, &at, &mut out);
        let (expected, expected_losses) = local.directions(at.x(), at.y(), at.z());
        for block in Block::ALL {
            assert!(distance(out.block(block), &expected[block as usize]) < 1e-10);
        }
        assert!((losses.upper / expected_losses.upper - 1.0).abs() < 1e-10);
        assert!((losses.lower / expected_losses.lower - 1.0).abs() < 1e-10);
    }

    let expected = Probed::mean(&locals).solution(at.x());
    let found = on_ranks(2, |comm| {
        let mut net = uncompressed_net::<f64>(comm, workers, at.dims());
        let mine = problem::<f64>(config, workers, net.hosted());
        evaluate::exact(&mut net, &*mine, &at, workers)
            .expect("no rank is gone")
            .expect("a solution")
    });
    for found in found {
        assert!(distance(&found.y, &expected.y) < 1e-10);
        assert!(distance(&found.z, &expected.z) < 1e-10);
        assert!(distance(&found.hypergradient, &expected.hypergradient) < 1e-10);
    }
}

/// Mini-batches of two classes are computed in other ways where they are dense or cut as slices.
#[test]
fn processors_change_no_bit_of_the_selection_of_regularization() {
    fn of<F: Scalar>(levels: &Levels, config: &Value) {
        let mut problem = problem::<F>(config, 3, 0..3);
        let mut at = problem.start();
        let shift = normal::<F>(at.dims().total(), 8);
        add_scaled(at.as_mut_slice(), F::lit(0.3), &shift);
        levels.agree(&config.to_string(), || {
            let mut out = Vars::zeros(at.dims());
            let losses = problem.directions(Draw::first(SEED, 2, 3), Blocks::ALL, &at, &mut out);
            (bits(out.as_slice()).to_vec(), losses)
        });
    }
    let levels = Levels::of("directions");
    for mut config in regularization_examples() {
        config["batch_lower"] = json!(70);
        of::<f32>(&levels, &config);
        of::<f64>(&levels, &config);
    }
}

#[test]
fn hyper_representation_agrees_with_derivatives_of_its_losses_by_dual_numbers() {
    for (activation, hidden) in [("tanh", vec![3]), ("relu", vec![4, 3]), ("softplus", vec![3, 2])]
    {
        let config = json!({ "kind": "hyper-representation", "dataset": "mnist-small", "l2": 0.05,
            "hidden": hidden, "activation": activation, "batch_lower": 5, "batch_upper": 4 });
        let mut problem = problem::<f64>(&config, 3, 1..2);
        let mut at = problem.start();
        let shift = normal::<f64>(at.dims().total(), 3);
        add_scaled(at.as_mut_slice(), 0.2, &shift);
        let draw = Draw::first(SEED, 1, 9);
        let mut out = Vars::zeros(at.dims());
        let losses = problem.directions(draw, Blocks::ALL, &at, &mut out);

        let batch = Batch::draw(draw, 3, [5, 4]);
        let (expected, expected_losses) =
            hyper_dual::directions(&batch, activation, &hidden, 0.05, &at);
        for block in Block::ALL {
            let off = distance(out.block(block), expected.block(block));
            assert!(off < 1e-10, "{activation} {hidden:?}, {}: {off:e}", block.name());
        }
        assert!((losses.upper / expected_losses.upper - 1.0).abs() < 1e-10, "{activation}");
        assert!((losses.lower / expected_losses.lower - 1.0).abs() < 1e-10, "{activation}");
    }
}

/// Mean over the workers of what each one writes.
fn mean(
    problem: &dyn Problem<f64>,
    workers: usize,
    x: &[f64],
    len: usize,
    local: impl Fn(&dyn FullSample, &mut [f64]),
) -> Vec<f64> {
    let mut mean = vec![0.0; len];
    for worker in 0..workers {
        let mut out = vec![f64::NAN; len];
        local(&*problem.full(worker, x), &mut out);
        add_scaled(&mut mean, 1.0 / workers as f64, &out);
    }
    mean
}

#[test]
fn the_exact_hypergradient_is_that_of_the_solved_lower_level() {
    let on_samples = |classes: usize| {
        json!({ "kind": "regularization-selection", "dataset": svmlight(classes, false),
            "start": -3 })
    };
    for config in [
        json!({ "kind": "hyper-representation", "dataset": "mnist-small", "hidden": [8] }),
        // Solved by Cholesky, and by conjugate gradients.
        on_samples(2),
        on_samples(20),
    ] {
        exact_hypergradient_is_that_of_the_solved_lower_level(&config);
    }
}

fn exact_hypergradient_is_that_of_the_solved_lower_level(config: &Value) {
    let workers = 2;
    let mut problem = problem::<f64>(config, workers, 0..workers);
    let start = problem.start();
    let Dims { upper: p, lower: q } = start.dims();
    let (comm, mut at) = (&mut alone(), start.clone());
    let mut net = uncompressed_net::<f64>(comm, workers, at.dims());
    let Exact { y, z, hypergradient } =
        evaluate::exact(&mut net, &*problem, &at, workers).expect("one rank").expect("a solution");

    let zero = vec![0.0; q];
    let mean = |len, local: &dyn Fn(&dyn FullSample, &mut [f64])| {
        mean(&*problem, workers, start.x(), len, local)
    };
    let gradient = norm(&mean(q, &|full, out| full.lower_gradient(&y, out)));
    let scale = norm(&mean(q, &|full, out| full.lower_gradient(&zero, out)));
    assert!(gradient < 2e-11 * scale, "|grad_y g| = {gradient:e} of {scale}");
    let upper = mean(q, &|full, out| full.upper_gradient(&y, out));
    let mut residual = mean(q, &|full, out| full.lower_hessian(&y, &z, out));
    add_scaled(&mut residual, 1.0, &upper);
    assert!(norm(&residual) < 2e-11 * norm(&upper), "{:e}", norm(&residual) / norm(&upper));
    assert!(
        distance(&mean(p, &|full, out| full.hypergradient(&y, &z, out)), &hypergradient) < 1e-12
    );

    // Phi along a random direction.
    let mut direction = normal::<f64>(p, 4);
    let length = norm(&direction);
    direction.iter_mut().for_each(|u| *u /= length);
    let step = 1e-3;
    let mut phi = |step: f64| {
        let (x, ..) = at.split_mut();
        x.copy_from_slice(start.x());
        add_scaled(x, step, &direction);
        let exact = evaluate::exact(&mut net, &*problem, &at, workers)
            .expect("one rank")
            .expect("a solution");
        at.block_mut(Block::Y).copy_from_slice(&exact.y);
        let metrics = evaluate::metrics(&mut net, &mut *problem, &at, workers);
        metrics.expect("one rank").validation_loss
    };
    let difference = (phi(step) - phi(-step)) / (2.0 * step);
    let slope = dot(&hypergradient, &direction);
    assert!((difference / slope - 1.0).abs() < 1e-5, "{difference} by difference, {slope} exactly");
}
