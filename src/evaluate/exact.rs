//! The exact solution of the lower level and the hypergradient, in double precision.

use ndarray::{Array2, ArrayView1};
use ndarray_linalg::{FactorizeCInto, SolveC, UPLO};

use crate::net::{Importance, Net, NetError};
use crate::problems::{FullSample, Problem};
use crate::scalar::Scalar;
use crate::vars::{Dims, Vars, add_scaled, dot, norm};

/// |grad_y g(x, y*)| at which the lower level counts as solved, relative to its size at y = 0, and
/// the same for the linear system of z*.
const TOLERANCE: f64 = 1e-11;
/// What is accepted where rounding ends the progress.
const ACCEPTED: f64 = 1e-8;
const NEWTON_STEPS: usize = 100;
/// Linear systems of up to this many unknowns are solved by Cholesky, larger ones by conjugate
/// gradients.
const DIRECT: usize = 128;

/// Bytes that an evaluation takes on a rank besides what the problem's samples do: the iterate in double
/// precision and, where the lower level is `solved`, its vectors and small matrix.
pub fn room(dims: Dims, solved: bool) -> u64 {
    let Dims { upper, lower } = dims;
    let matrix = if lower <= DIRECT { lower * lower } else { 0 };
    // At most: y, a trial and a step of Newton's method, two gradients, and what solves a linear system.
    let solver = 10 * lower + upper + matrix;
    let wide = dims.total() * if solved { 2 } else { 1 };
    ((wide + if solved { solver } else { 0 }) * size_of::<f64>()) as u64
}

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
/// z* by Cholesky or conjugate gradients. All in double precision, over all samples of all workers,
/// every sum in worker order: each rank gets the same bits.
///
/// `None`, on every rank alike, if the lower level cannot be solved: it is not strongly convex, or
/// too badly conditioned for double precision.
pub fn exact<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &dyn Problem<F>,
    at: &Vars<f64>,
    workers: usize,
) -> Result<Option<Exact>, NetError> {
    let locals = net.hosted().map(|worker| problem.full(worker, at.x())).collect();
    let first = net.hosted().start;
    let importance = net.importance();
    let mut mean = Mean { net, locals, first, workers: workers as f64, importance };
    let q = at.dims().lower;

    let Some(y) = solve_lower(&mut mean, at.y())? else { return Ok(None) };
    let mut upper = vec![0.0; q];
    mean.of(&mut upper, |local, out| local.upper_gradient(&y, out))?;
    let Some(mut z) = mean.solve(&y, &upper, TOLERANCE * norm(&upper))? else { return Ok(None) };
    z.iter_mut().for_each(|z| *z = -*z);
    let mut hypergradient = vec![0.0; at.dims().upper];
    mean.of(&mut hypergradient, |local, out| local.hypergradient(&y, &z, out))?;
    Ok(Some(Exact { y, z, hypergradient }))
}

/// y*(x) by Newton's method from `start`, or `None`.
fn solve_lower<F: Scalar>(
    mean: &mut Mean<'_, '_, F>,
    start: &[f64],
) -> Result<Option<Vec<f64>>, NetError> {
    let mut gradient = vec![0.0; start.len()];
    mean.of(&mut gradient, |local, out| local.lower_gradient(&vec![0.0; start.len()], out))?;
    let scale = norm(&gradient).max(f64::MIN_POSITIVE);
    let target = TOLERANCE * scale;

    let mut y = start.to_vec();
    mean.of(&mut gradient, |local, out| local.lower_gradient(&y, out))?;
    let mut size = norm(&gradient);
    for _ in 0..NEWTON_STEPS {
        if size <= target || !size.is_finite() {
            break;
        }
        // The system is solved more exactly the closer the end, so that convergence is fast.
        let accuracy = (0.1f64).min(size.sqrt()).max(0.1 * target / size);
        let Some(step) = mean.solve(&y, &gradient, accuracy * size)? else { return Ok(None) };
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
        let reached = norm(&gradient);
        if reached.is_nan() || reached >= size {
            break;
        }
        (y, size) = (trial, reached);
    }
    Ok((size <= ACCEPTED * scale).then_some(y))
}

/// Means over all workers of what the hosted ones compute.
struct Mean<'m, 'c, F> {
    net: &'m mut Net<'c, F>,
    locals: Vec<Box<dyn FullSample + 'm>>,
    first: usize,
    workers: f64,
    importance: Importance,
}

impl<F: Scalar> Mean<'_, '_, F> {
    fn of(
        &mut self,
        out: &mut [f64],
        local: impl Fn(&dyn FullSample, &mut [f64]),
    ) -> Result<(), NetError> {
        let Self { net, locals, first, workers, importance } = self;
        net.sum_over_workers(out, |worker, out| {
            local(&*locals[worker - *first], out);
            let weight = importance.of(worker);
            out.iter_mut().for_each(|v| *v *= weight);
        })?;
        out.iter_mut().for_each(|v| *v /= *workers);
        Ok(())
    }

    /// v with H_yy g(x, y) v = b, to the tolerance on the norm of the residual where the solution is
    /// iterative. `None` if the matrix is not positive definite, or the iteration does not end.
    fn solve(
        &mut self,
        y: &[f64],
        b: &[f64],
        tolerance: f64,
    ) -> Result<Option<Vec<f64>>, NetError> {
        match b.len() <= DIRECT {
            true => self.solve_direct(y, b),
            false => self.solve_iterative(y, b, tolerance),
        }
    }

    /// By Cholesky; the Hessian is assembled column by column. The root factorizes it: on another kind of
    /// processor the last bits would be others, or the answer whether there is a solution.
    fn solve_direct(&mut self, y: &[f64], b: &[f64]) -> Result<Option<Vec<f64>>, NetError> {
        let q = b.len();
        let mut hessian = Array2::zeros((q, q));
        let (mut unit, mut column) = (vec![0.0; q], vec![0.0; q]);
        for j in 0..q {
            unit[j] = 1.0;
            self.of(&mut column, |local, out| local.lower_hessian(y, &unit, out))?;
            unit[j] = 0.0;
            hessian.column_mut(j).assign(&ArrayView1::from(&column));
        }
        let mut solution = vec![];
        if self.net.comm().is_root() {
            let factor = hessian.factorizec_into(UPLO::Lower);
            let solved = factor.and_then(|factor| factor.solvec(&ArrayView1::from(b)));
            solution = solved.map_or_else(|_| vec![], |v| v.to_vec());
        }
        self.net.values_of_root(&mut solution)?;
        Ok((solution.len() == q && solution.iter().all(|v| v.is_finite())).then_some(solution))
    }

    /// By conjugate gradients.
    fn solve_iterative(
        &mut self,
        y: &[f64],
        b: &[f64],
        tolerance: f64,
    ) -> Result<Option<Vec<f64>>, NetError> {
        let mut v = vec![0.0; b.len()];
        let mut residual = b.to_vec();
        let mut direction = residual.clone();
        let mut image = vec![0.0; b.len()];
        let mut size = dot(&residual, &residual);
        for _ in 0..2 * b.len() + 1000 {
            if size.sqrt() <= tolerance {
                return Ok(Some(v));
            }
            self.of(&mut image, |local, out| local.lower_hessian(y, &direction, out))?;
            let curvature = dot(&direction, &image);
            if curvature.is_nan() || curvature <= 0.0 {
                break;
            }
            let step = size / curvature;
            add_scaled(&mut v, step, &direction);
            add_scaled(&mut residual, -step, &image);
            let before = size;
            size = dot(&residual, &residual);
            for (d, r) in direction.iter_mut().zip(&residual) {
                *d = r + size / before * *d;
            }
        }
        // Rounding may hold the residual above a tolerance near the limit of double precision.
        Ok((size.sqrt() <= ACCEPTED * norm(b)).then_some(v))
    }
}
