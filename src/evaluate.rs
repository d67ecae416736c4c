//! Evaluations: metrics on all samples, and the exact hypergradient.

use ndarray::{Array2, ArrayView1};
use ndarray_linalg::{FactorizeCInto, SolveC, UPLO};

use crate::net::{Importance, Net, NetError};
use crate::problems::{FullSample, Problem};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims, Vars, add_scaled, dot, norm};

/// One evaluation; NaN where a problem has no such thing or it was not asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// |grad Phi(x)|, exact.
    pub hypergradient_norm: f64,
    /// Phi(x) = f(x, y*(x)).
    pub objective: f64,
    /// |y - y*(x)|.
    pub lower_distance: f64,
    /// |z - z*(x)|.
    pub auxiliary_distance: f64,
    /// Share of the test set that is classified correctly at (x, y*(x)).
    pub solution_accuracy: f64,
    /// Share of the test set that is classified correctly at (x, y).
    pub test_accuracy: f64,
    /// Mean loss over the test set.
    pub test_loss: f64,
    /// f(x, y) over all samples: the mean of the workers' means.
    pub validation_loss: f64,
    /// How well x tells clean from corrupted samples: area under the ROC curve, the chance that a clean
    /// one weighs more.
    pub weight_auc: f64,
    /// The same for the samples' losses at y*(x): the chance that a clean one's is smaller.
    pub solution_loss_auc: f64,
    /// How far the agents of a run without a server are apart in x: the root of the mean of
    /// |x_i - mean|^2, both means weighted as mixing conserves them.
    pub consensus_error_x: f64,
    /// The same for y.
    pub consensus_error_y: f64,
    /// The same for z.
    pub consensus_error_z: f64,
}

/// Number of metrics.
const METRICS: usize = 13;

impl Evaluation {
    /// Name and meaning of each metric, in the order of [`Evaluation::values`].
    pub const METRICS: [(&'static str, &'static str); METRICS] = [
        ("hypergradient_norm", "Euclidean norm of the exact hypergradient"),
        ("objective", "upper-level loss at the solution of the lower level"),
        ("lower_distance", "distance of y from the solution of the lower level"),
        ("auxiliary_distance", "distance of z from the solution of its linear system"),
        ("solution_accuracy", "test accuracy at the solution of the lower level"),
        ("test_accuracy", "share of the test set classified correctly"),
        ("test_loss", "mean loss over the test set"),
        ("validation_loss", "upper-level loss over all validation samples"),
        ("weight_auc", "area under the ROC curve of x for clean against corrupted samples"),
        (
            "solution_loss_auc",
            "the same for the losses of the samples at the lower level's solution",
        ),
        ("consensus_error_x", "root mean square distance of the agents' x from their mean"),
        ("consensus_error_y", "the same for y"),
        ("consensus_error_z", "the same for z"),
    ];

    /// Nothing measured.
    pub const NONE: Self = Self::from_values([f64::NAN; METRICS]);

    /// Every metric.
    pub fn values(&self) -> [f64; METRICS] {
        [
            self.hypergradient_norm,
            self.objective,
            self.lower_distance,
            self.auxiliary_distance,
            self.solution_accuracy,
            self.test_accuracy,
            self.test_loss,
            self.validation_loss,
            self.weight_auc,
            self.solution_loss_auc,
            self.consensus_error_x,
            self.consensus_error_y,
            self.consensus_error_z,
        ]
    }

    /// The same with the consensus errors of x, y and z.
    pub fn with_consensus(self, [x, y, z]: [f64; 3]) -> Self {
        Self { consensus_error_x: x, consensus_error_y: y, consensus_error_z: z, ..self }
    }

    /// The inverse of [`Evaluation::values`].
    pub const fn from_values(values: [f64; METRICS]) -> Self {
        let [
            hypergradient_norm,
            objective,
            lower_distance,
            auxiliary_distance,
            solution_accuracy,
            test_accuracy,
            test_loss,
            validation_loss,
            weight_auc,
            solution_loss_auc,
            consensus_error_x,
            consensus_error_y,
            consensus_error_z,
        ] = values;
        Self {
            hypergradient_norm,
            objective,
            lower_distance,
            auxiliary_distance,
            solution_accuracy,
            test_accuracy,
            test_loss,
            validation_loss,
            weight_auc,
            solution_loss_auc,
            consensus_error_x,
            consensus_error_y,
            consensus_error_z,
        }
    }
}

/// Metrics at an iterate that every rank knows.
pub fn metrics<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &mut dyn Problem<F>,
    at: &Vars<F>,
    workers: usize,
) -> Result<Evaluation, NetError> {
    let mut sums = [0.0; 4];
    let importance = net.importance();
    net.sum_over_workers(&mut sums, |worker, out| {
        let local = problem.metrics(worker, at);
        let validation = importance.of(worker) * local.validation_loss;
        out.copy_from_slice(&[local.test_correct, local.test_samples, local.test_loss, validation]);
    })?;
    let [correct, samples, loss, validation] = sums;
    Ok(Evaluation {
        test_accuracy: correct / samples,
        test_loss: loss / samples,
        validation_loss: validation / workers as f64,
        weight_auc: weight_auc(problem, at.x()),
        ..Evaluation::NONE
    })
}

/// Adds what is known once the lower level is solved. `None`, on every rank alike, if it cannot be:
/// see [`exact`].
pub fn with_solution<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &mut dyn Problem<F>,
    at: &Vars<F>,
    workers: usize,
    evaluation: Evaluation,
) -> Result<Option<Evaluation>, NetError> {
    let wide = at.wide();
    let Some(exact) = exact(net, problem, &wide, workers)? else { return Ok(None) };
    let mut solved = at.clone();
    for (y, &solution) in solved.block_mut(Block::Y).iter_mut().zip(&exact.y) {
        *y = F::lit(solution);
    }
    let at_solution = metrics(net, problem, &solved, workers)?;
    let solution_loss_auc = loss_auc(net, problem, &solved)?;
    let distance = |v: &[f64], solution: &[f64]| {
        let away: Vec<f64> = v.iter().zip(solution).map(|(v, s)| v - s).collect();
        norm(&away)
    };
    Ok(Some(Evaluation {
        hypergradient_norm: norm(&exact.hypergradient),
        objective: at_solution.validation_loss,
        lower_distance: distance(wide.y(), &exact.y),
        auxiliary_distance: distance(wide.z(), &exact.z),
        solution_accuracy: at_solution.test_accuracy,
        solution_loss_auc,
        ..evaluation
    }))
}

fn weight_auc<F: Scalar>(problem: &dyn Problem<F>, x: &[F]) -> f64 {
    let Some(corrupted) = problem.corrupted() else { return f64::NAN };
    let weights: Vec<f64> = x.iter().map(|x| x.wide()).collect();
    auc(&weights, corrupted)
}

fn loss_auc<F: Scalar>(
    net: &mut Net<'_, F>,
    problem: &dyn Problem<F>,
    at: &Vars<F>,
) -> Result<f64, NetError> {
    let Some(corrupted) = problem.corrupted() else { return Ok(f64::NAN) };
    let mut losses = vec![0.0; corrupted.len()];
    net.sum_over_workers(&mut losses, |worker, out| {
        out.fill(0.0);
        problem.sample_losses(worker, at.y(), out);
    })?;
    losses.iter_mut().for_each(|loss| *loss = -*loss);
    Ok(auc(&losses, corrupted))
}

/// The chance that a clean sample's score is above a corrupted one's, ties counting half; NaN if
/// there are none of either.
fn auc(scores: &[f64], corrupted: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    // Corrupted samples below, and pairs won by clean ones.
    let (mut below, mut won) = (0.0, 0.0);
    for tied in order.chunk_by(|&i, &j| scores[i] == scores[j]) {
        let wrong = tied.iter().filter(|&&i| corrupted[i]).count() as f64;
        let clean = tied.len() as f64 - wrong;
        won += clean * (below + 0.5 * wrong);
        below += wrong;
    }
    won / (below * (scores.len() as f64 - below))
}

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

    /// By Cholesky; the Hessian is assembled column by column.
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
        let solution = hessian.factorizec_into(UPLO::Lower);
        let solution = solution.and_then(|factor| factor.solvec(&ArrayView1::from(b)));
        Ok(solution.ok().map(|v| v.to_vec()).filter(|v| v.iter().all(|v| v.is_finite())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_counts_the_pairs_in_order() {
        let corrupted = [true, false, true, false];
        assert_eq!(auc(&[1.0, 2.0, 1.0, 2.0], &corrupted), 1.0);
        assert_eq!(auc(&[2.0, 1.0, 2.0, 1.0], &corrupted), 0.0);
        assert_eq!(auc(&[1.0; 4], &corrupted), 0.5);
        // Of four pairs, (0, 1) and (0, 3) are in order, (2, 3) is not, (2, 1) is a tie.
        assert_eq!(auc(&[1.0, 4.0, 4.0, 3.0], &corrupted), 2.5 / 4.0);
        assert!(auc(&[1.0, 2.0], &[false; 2]).is_nan());
    }
}
