//! Metrics at an iterate, and at the solution of its lower level.

use super::{Evaluation, exact};
use crate::net::{Net, NetError};
use crate::problems::Problem;
use crate::scalar::Scalar;
use crate::vars::{Block, Vars, norm};

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
/// see [`exact()`].
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
