//! Evaluations: metrics on all samples, and the exact hypergradient.

use crate::net::{Net, NetError};
use crate::problems::{FullSample, Problem};
use crate::scalar::Scalar;
use crate::vars::{Vars, add_scaled, dot, norm};

/// One evaluation; NaN where a problem has no such thing or it was not asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// |grad Phi(x)|, exact.
    pub hypergradient_norm: f64,
    /// Share of the test set that is classified correctly.
    pub test_accuracy: f64,
    /// Mean loss over the test set.
    pub test_loss: f64,
    /// f(x, y) over all samples: the mean of the workers' means.
    pub validation_loss: f64,
}

/// Metrics at an iterate that every rank knows.
pub fn metrics<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &mut dyn Problem<F>,
    at: &Vars<F>,
    workers: usize,
) -> Result<Evaluation, NetError> {
    let mut sums = [0.0; 4];
    net.sum_over_workers(&mut sums, |worker, out| {
        let local = problem.metrics(worker, at);
        let values =
            [local.test_correct, local.test_samples, local.test_loss, local.validation_loss];
        out.copy_from_slice(&values);
    })?;
    let [correct, samples, loss, validation] = sums;
    Ok(Evaluation {
        hypergradient_norm: f64::NAN,
        test_accuracy: correct / samples,
        test_loss: loss / samples,
        validation_loss: validation / workers as f64,
    })
}

/// |grad_y g(x, y*)| at which the lower level counts as solved, relative to its size at y = 0, and
/// the same for the linear system of z*.
const TOLERANCE: f64 = 1e-11;
const NEWTON_STEPS: usize = 100;

/// The exact solution of the lower level and what follows from it.
#[derive(Clone, Debug)]
pub struct Exact {
    /// y*(x) [q].
    pub y: Vec<f64>,
    /// z*(x) = -H_yy^-1 grad_y f [q].
    pub z: Vec<f64>,
    /// grad Phi(x) [p].
    pub hypergradient: Vec<f64>,
}

/// Solves the lower level at x by Newton's method from the current y, its linear systems and that of
/// z* by conjugate gradients. All in double precision, over all samples of all workers, every sum in
/// worker order: each rank gets the same bits.
pub fn exact<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &dyn Problem<F>,
    at: &Vars<f64>,
    workers: usize,
) -> Result<Exact, NetError> {
    let locals = net.hosted().map(|worker| problem.full(worker, at.x())).collect();
    let first = net.hosted().start;
    let mut mean = Mean { net, locals, first, workers: workers as f64 };
    let q = at.dims().lower;

    let zero = vec![0.0; q];
    let mut gradient = vec![0.0; q];
    mean.of(&mut gradient, |local, out| local.lower_gradient(&zero, out))?;
    let target = TOLERANCE * norm(&gradient).max(f64::MIN_POSITIVE);

    let mut y = at.y().to_vec();
    mean.of(&mut gradient, |local, out| local.lower_gradient(&y, out))?;
    for _ in 0..NEWTON_STEPS {
        let size = norm(&gradient);
        if size <= target {
            break;
        }
        // The system is solved more exactly the closer the end, so that convergence is fast.
        let accuracy = (0.1f64).min(size.sqrt()).max(0.1 * target / size);
        let step = mean.solve(&y, &gradient, accuracy * size)?;
        let mut t = 1.0;
        let mut trial;
        loop {
            trial = y.clone();
            add_scaled(&mut trial, -t, &step);
            mean.of(&mut gradient, |local, out| local.lower_gradient(&trial, out))?;
            // Along the Newton step |gradient| falls at rate 1; below 2^-20 it is rounding.
            if norm(&gradient) <= (1.0 - 1e-4 * t) * size || t < 1e-6 {
                break;
            }
            t *= 0.5;
        }
        if norm(&gradient) >= size {
            break;
        }
        y = trial;
    }

    let mut upper = vec![0.0; q];
    mean.of(&mut upper, |local, out| local.upper_gradient(&y, out))?;
    let mut z = mean.solve(&y, &upper, TOLERANCE * norm(&upper))?;
    z.iter_mut().for_each(|z| *z = -*z);
    let mut hypergradient = vec![0.0; at.dims().upper];
    mean.of(&mut hypergradient, |local, out| local.hypergradient(&y, &z, out))?;
    Ok(Exact { y, z, hypergradient })
}

/// Means over all workers of what the hosted ones compute.
struct Mean<'m, 'c, F> {
    net: &'m mut Net<'c, F>,
    locals: Vec<Box<dyn FullSample + 'm>>,
    first: usize,
    workers: f64,
}

impl<F: Scalar> Mean<'_, '_, F> {
    fn of(
        &mut self,
        out: &mut [f64],
        local: impl Fn(&dyn FullSample, &mut [f64]),
    ) -> Result<(), NetError> {
        let Self { net, locals, first, workers } = self;
        net.sum_over_workers(out, |worker, out| local(&*locals[worker - *first], out))?;
        out.iter_mut().for_each(|v| *v /= *workers);
        Ok(())
    }

    /// v with |H_yy g(x, y) v - b| <= tolerance, by conjugate gradients.
    fn solve(&mut self, y: &[f64], b: &[f64], tolerance: f64) -> Result<Vec<f64>, NetError> {
        let mut v = vec![0.0; b.len()];
        let mut residual = b.to_vec();
        let mut direction = residual.clone();
        let mut image = vec![0.0; b.len()];
        let mut size = dot(&residual, &residual);
        for _ in 0..20 * b.len() {
            if size.sqrt() <= tolerance {
                break;
            }
            self.of(&mut image, |local, out| local.lower_hessian(y, &direction, out))?;
            let step = size / dot(&direction, &image);
            add_scaled(&mut v, step, &direction);
            add_scaled(&mut residual, -step, &image);
            let before = size;
            size = dot(&residual, &residual);
            for (d, r) in direction.iter_mut().zip(&residual) {
                *d = r + size / before * *d;
            }
        }
        Ok(v)
    }
}
