//! The losses of scores: logistic for one score a sample, cross-entropy for several.
//!
//! With b = 1 for class 1 and -1 for class 0, m = b s the margin of a score s:
//!
//! ```text
//! loss log(1 + exp(-m)),   p = sigma(-m),   derivative -b p,   second derivative p (1 - p)
//! ```

use crate::data::Label;
use crate::problems::softmax;
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// Samples whose margins are looked at together.
pub const LANES: usize = 16;
/// Groups of them between two logarithms.
pub const BLOCK: usize = 8;

/// b of a class.
#[inline(always)]
pub fn sign<F: Scalar>(label: Label) -> F {
    if label == 1 { F::one() } else { -F::one() }
}

/// A sum of logistic losses, lane by lane: sum max(0, -m) + log prod (1 + exp(-|m|)). A factor is at
/// most 2, so that [`BLOCK`] of them cannot overflow, and one logarithm does for all.
pub struct Sum<F> {
    linear: [F; LANES],
    product: [F; LANES],
}

impl<F: Scalar> Sum<F> {
    /// No loss yet.
    #[inline(always)]
    pub fn new() -> Self {
        Self { linear: [F::zero(); LANES], product: [F::one(); LANES] }
    }

    /// Takes in the margins `from..to` of 16; p and p (1 - p) of each of them, zero for the others.
    #[inline(always)]
    pub fn add(&mut self, m: &[F; LANES], from: usize, to: usize) -> ([F; LANES], [F; LANES]) {
        let (mut p, mut q) = ([F::zero(); LANES], [F::zero(); LANES]);
        for i in 0..LANES {
            let inside = (from as u32 <= i as u32) & ((i as u32) < to as u32);
            let e = (-m[i].abs()).fast_exp();
            let large = F::one() / (F::one() + e);
            let small = e * large;
            let is_wrong = m[i] < F::zero();
            p[i] = if is_wrong { large } else { small };
            q[i] = large * small;
            let linear = if is_wrong { -m[i] } else { F::zero() };
            p[i] = if inside { p[i] } else { F::zero() };
            q[i] = if inside { q[i] } else { F::zero() };
            self.linear[i] += if inside { linear } else { F::zero() };
            self.product[i] *= if inside { F::one() + e } else { F::one() };
        }
        (p, q)
    }

    /// The sum.
    #[inline(always)]
    pub fn value(&self) -> f64 {
        let linear: f64 = self.linear.iter().map(|v| v.wide()).sum();
        linear + self.product.iter().map(|v| v.wide()).product::<f64>().ln()
    }
}

/// Turns S [samples x columns] into `scale` times the derivatives of the losses with respect to it
/// and, unless it is empty, a change of S into `scale` times the change of these derivatives. Returns
/// the sum of the losses.
pub fn residuals<F: Scalar>(
    columns: usize,
    scores: &mut [F],
    change: &mut [F],
    labels: &[Label],
    scale: F,
) -> f64 {
    if columns == 1 {
        return vectorized(
            #[inline(always)]
            || logistic(scores, change, labels, scale),
        );
    }
    let mut sum = 0.0;
    let mut changes = change.chunks_exact_mut(columns);
    for (row, &label) in scores.chunks_exact_mut(columns).zip(labels) {
        let score = row[usize::from(label)];
        sum += (softmax::softmax(row) - score).wide();
        if let Some(change) = changes.next() {
            softmax::softmax_derivative(row, change);
            change.iter_mut().for_each(|v| *v *= scale);
        }
        softmax::residual(row, label);
        row.iter_mut().for_each(|v| *v *= scale);
    }
    sum
}

#[inline(always)]
fn logistic<F: Scalar>(scores: &mut [F], change: &mut [F], labels: &[Label], scale: F) -> f64 {
    let mut total = 0.0;
    let mut changes = change.chunks_mut(LANES * BLOCK);
    let blocks = scores.chunks_mut(LANES * BLOCK).zip(labels.chunks(LANES * BLOCK));
    for (scores, labels) in blocks {
        let mut sum = Sum::new();
        let mut changes = changes.next().unwrap_or_default().chunks_mut(LANES);
        for (scores, labels) in scores.chunks_mut(LANES).zip(labels.chunks(LANES)) {
            let mut m = [F::zero(); LANES];
            for ((m, &s), &label) in m.iter_mut().zip(&*scores).zip(labels) {
                *m = sign::<F>(label) * s;
            }
            let (p, q) = sum.add(&m, 0, labels.len());
            for ((s, p), &label) in scores.iter_mut().zip(p).zip(labels) {
                *s = -sign::<F>(label) * p * scale;
            }
            for (s, q) in changes.next().unwrap_or_default().iter_mut().zip(q) {
                *s *= q * scale;
            }
        }
        total += sum.value();
    }
    total
}

/// Whether the scores of a sample say its class.
pub fn is_correct<F: Scalar>(scores: &[F], label: Label) -> bool {
    let class = match scores {
        [score] => usize::from(*score > F::zero()),
        _ => softmax::argmax(scores),
    };
    class == usize::from(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_is_softmax_of_two_classes() {
        let labels: Vec<Label> = (0..150).map(|i| (i % 3 == 0).into()).collect();
        let mut s: Vec<f64> = (0..150).map(|i| f64::from(i - 70) * 0.9).collect();
        let mut ds: Vec<f64> = (0..150).map(|i| (f64::from(i) * 0.3).sin()).collect();
        let pairs = |v: &[f64]| v.iter().flat_map(|&v| [0.0, v]).collect::<Vec<f64>>();
        let (mut both, mut change) = (pairs(&s), pairs(&ds));
        let expected = residuals(2, &mut both, &mut change, &labels, 0.1);
        let found = residuals(1, &mut s, &mut ds, &labels, 0.1);
        assert!((found / expected - 1.0).abs() < 1e-14);
        for i in 0..150 {
            assert!((s[i] - both[2 * i + 1]).abs() < 1e-15, "{i}");
            assert!((ds[i] - change[2 * i + 1]).abs() < 1e-15, "{i}");
        }
    }
}
