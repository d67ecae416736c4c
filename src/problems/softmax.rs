//! Softmax regression sample by sample: probabilities, residuals, and how they change with the scores.
//!
//! With s the scores [classes] of a sample, p = softmax(s) and t its one-hot label, the cross-entropy is
//! log sum exp s - s't, its derivative with respect to s is p - t, and along a change u of the scores
//! that changes by p o (u - p'u).

use crate::data::Label;
use crate::scalar::Scalar;

/// Turns scores [classes] into probabilities; returns log sum exp of the scores, from which the
/// cross-entropy of a label is this less the label's score.
pub fn softmax<F: Scalar>(scores: &mut [F]) -> F {
    let max = scores.iter().fold(F::neg_infinity(), |max, &v| if v > max { v } else { max });
    let mut sum = F::zero();
    for v in scores.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    scores.iter_mut().for_each(|v| *v /= sum);
    max + sum.ln()
}

/// p -> p - onehot(label), the derivative of the cross-entropy with respect to the scores.
pub fn residual<F: Scalar>(probabilities: &mut [F], label: Label) {
    probabilities[usize::from(label)] -= F::one();
}

/// s -> p o (s - p's), the derivative of the probabilities along the scores' change s.
pub fn softmax_derivative<F: Scalar>(probabilities: &[F], s: &mut [F]) {
    let mean = probabilities.iter().zip(s.iter()).fold(F::zero(), |sum, (&p, &s)| sum + p * s);
    for (s, &p) in s.iter_mut().zip(probabilities) {
        *s = p * (*s - mean);
    }
}

/// Index of the largest score; ties go to the first.
pub fn argmax<F: Scalar>(scores: &[F]) -> usize {
    let mut best = 0;
    for (i, v) in scores.iter().enumerate() {
        if *v > scores[best] {
            best = i;
        }
    }
    best
}
