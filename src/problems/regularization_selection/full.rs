//! One worker's losses over all of its samples at a fixed x, in double precision.

use super::super::level::Level;
use super::loss;
use super::model::Model;
use super::{FullSample, Shard};
use crate::problems::softmax;
use crate::scalar::Scalar;

/// The samples in double precision, and the penalty's weights.
pub struct Full<'a> {
    model: Model,
    weights: Vec<f64>,
    lower: Level<'a>,
    upper: Level<'a>,
}

impl<'a> Full<'a> {
    pub fn new<F: Scalar>(model: Model, shard: &'a Shard<F>, x: &[f64]) -> Self {
        Self {
            model,
            weights: x.iter().map(|x| x.exp()).collect(),
            lower: Level::of(&shard.lower),
            upper: Level::of(&shard.upper),
        }
    }

    /// exp(x) o v.
    fn weighed(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; v.len()];
        self.model.weigh(&self.weights, v, &mut out);
        out
    }

    fn scores(&self, level: &Level<'_>, v: &[f64]) -> Vec<f64> {
        let mut scores = vec![0.0; level.labels.len() * self.model.columns];
        level.samples(|a| self.model.scores(a, v, &mut scores));
        scores
    }

    /// P - T: derivatives of the losses with respect to the scores at Y.
    fn residuals(&self, level: &Level<'_>, y: &[f64]) -> Vec<f64> {
        let mut scores = self.scores(level, y);
        loss::residuals(self.model.columns, &mut scores, &mut [], level.labels, 1.0);
        scores
    }

    /// out += the mean over the samples of A'R.
    fn add_mean(&self, level: &Level<'_>, mut r: Vec<f64>, out: &mut [f64]) {
        r.iter_mut().for_each(|r| *r /= level.labels.len() as f64);
        level.samples(|a| self.model.add_transposed(a, &r, out));
    }
}

impl FullSample for Full<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        self.model.weigh(&self.weights, y, out);
        self.add_mean(&self.lower, self.residuals(&self.lower, y), out);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let n = self.model.columns;
        let r = self.lower.at(y, || self.residuals(&self.lower, y));
        let mut change = self.scores(&self.lower, v);
        if n == 1 {
            // A residual is p up to its sign.
            change.iter_mut().zip(&*r).for_each(|(s, r)| *s *= r.abs() * (1.0 - r.abs()));
        } else {
            let mut p = vec![0.0; n];
            let rows = change.chunks_exact_mut(n).zip(r.chunks_exact(n));
            for ((s, r), &label) in rows.zip(self.lower.labels) {
                p.copy_from_slice(r);
                p[usize::from(label)] += 1.0;
                softmax::softmax_derivative(&p, s);
            }
        }
        self.model.weigh(&self.weights, v, out);
        self.add_mean(&self.lower, change, out);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_mean(&self.upper, self.residuals(&self.upper, y), out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        self.model.sums(&self.weighed(y), z, out);
    }
}
