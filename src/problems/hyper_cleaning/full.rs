//! One worker's losses over all of its samples at a fixed x, in double precision.

use std::ops::Range;

use super::super::FullSample;
use super::super::level::Level;
use super::{scaled, sigmoid};
use crate::data::Shard;
use crate::problems::softmax::{residual, softmax, softmax_derivative};
use crate::scalar::Scalar;

pub struct Full<'a> {
    lower: Level<'a>,
    upper: Level<'a>,
    classes: usize,
    l2: f64,
    /// sigmoid(x_j) of the worker's samples.
    weights: Vec<f64>,
    place: Range<usize>,
}

impl<'a> Full<'a> {
    pub fn new<F: Scalar>(
        shard: &'a Shard<F>,
        classes: usize,
        l2: f64,
        x: &'a [f64],
        place: Range<usize>,
    ) -> Self {
        Self {
            lower: Level::of(&shard.lower),
            upper: Level::of(&shard.upper),
            classes,
            l2,
            weights: x[place.clone()].iter().map(|&x| sigmoid(x)).collect(),
            place,
        }
    }

    /// A V [samples x classes].
    fn scores(&self, level: &Level<'_>, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; level.labels.len() * self.classes];
        level.samples(|a| a.scores_into(v, self.classes, &mut out));
        out
    }

    /// P [samples x classes].
    fn probabilities(&self, level: &Level<'_>, y: &[f64]) -> Vec<f64> {
        let mut p = self.scores(level, y);
        p.chunks_exact_mut(self.classes).for_each(|p| {
            softmax(p);
        });
        p
    }

    /// P - T [samples x classes].
    fn residuals(&self, level: &Level<'_>, y: &[f64]) -> Vec<f64> {
        let mut r = self.probabilities(level, y);
        for (r, &label) in r.chunks_exact_mut(self.classes).zip(level.labels) {
            residual(r, label);
        }
        r
    }

    /// out += A'R over the number of samples, row j of R [samples x classes] times `factor(j)`.
    fn add_mean(
        &self,
        level: &Level<'_>,
        mut r: Vec<f64>,
        factor: impl Fn(usize) -> f64,
        out: &mut [f64],
    ) {
        let share = 1.0 / level.labels.len() as f64;
        for (j, row) in r.chunks_exact_mut(self.classes).enumerate() {
            let factor = factor(j) * share;
            row.iter_mut().for_each(|v| *v *= factor);
        }
        level.samples(|a| a.add_transposed(&r, self.classes, out));
    }
}

impl FullSample for Full<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        scaled(y, self.l2, out);
        let r = self.residuals(&self.lower, y);
        self.add_mean(&self.lower, r, |j| self.weights[j], out);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let p = self.lower.at(y, || self.probabilities(&self.lower, y));
        let mut s = self.scores(&self.lower, v);
        for (p, s) in p.chunks_exact(self.classes).zip(s.chunks_exact_mut(self.classes)) {
            softmax_derivative(p, s);
        }
        scaled(v, self.l2, out);
        self.add_mean(&self.lower, s, |j| self.weights[j], out);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.add_mean(&self.upper, self.residuals(&self.upper, y), |_| 1.0, out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        let (r, s) = (self.residuals(&self.lower, y), self.scores(&self.lower, z));
        let classes = self.classes;
        out.fill(0.0);
        let rows = r.chunks_exact(classes).zip(s.chunks_exact(classes));
        for ((out, &w), (r, s)) in out[self.place.clone()].iter_mut().zip(&self.weights).zip(rows) {
            let along: f64 = r.iter().zip(s).map(|(r, s)| r * s).sum();
            *out = w * (1.0 - w) * along / self.weights.len() as f64;
        }
    }
}
