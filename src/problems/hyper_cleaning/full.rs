//! One worker's losses over all of its samples at a fixed x, in double precision.

use std::cell::RefCell;
use std::ops::Range;

use super::super::FullSample;
use super::{scaled, sigmoid};
use crate::data::{Features, Label, Rows, Shard, Split};
use crate::problems::softmax::{residual, softmax, softmax_derivative};
use crate::scalar::Scalar;

/// All samples of a level in double precision.
struct Level<'a> {
    features: Features<f64>,
    labels: &'a [Label],
    classes: usize,
}

impl<'a> Level<'a> {
    fn new<F: Scalar>(split: &'a Split<F>, classes: usize) -> Self {
        Self { features: split.features.wide(), labels: &split.labels, classes }
    }

    /// A V [samples x classes].
    fn scores(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.labels.len() * self.classes];
        let all = Rows::Slice(0..self.labels.len());
        self.features.choose(all, &mut vec![]).scores_into(v, self.classes, &mut out);
        out
    }

    /// out += A'R, for R [samples x classes].
    fn add_transposed(&self, r: &[f64], out: &mut [f64]) {
        let all = Rows::Slice(0..self.labels.len());
        self.features.choose(all, &mut vec![]).add_transposed(r, self.classes, out);
    }

    /// P [samples x classes].
    fn probabilities(&self, y: &[f64]) -> Vec<f64> {
        let mut p = self.scores(y);
        p.chunks_exact_mut(self.classes).for_each(|p| {
            softmax(p);
        });
        p
    }

    /// P - T [samples x classes].
    fn residuals(&self, y: &[f64]) -> Vec<f64> {
        let mut r = self.probabilities(y);
        for (r, &label) in r.chunks_exact_mut(self.classes).zip(self.labels) {
            residual(r, label);
        }
        r
    }

    /// Multiplies row j by `factor(j)` over the number of samples.
    fn scale_rows(&self, rows: &mut [f64], factor: impl Fn(usize) -> f64) {
        let share = 1.0 / self.labels.len() as f64;
        for (j, row) in rows.chunks_exact_mut(self.classes).enumerate() {
            let factor = factor(j) * share;
            row.iter_mut().for_each(|v| *v *= factor);
        }
    }
}

pub struct Full<'a> {
    lower: Level<'a>,
    upper: Level<'a>,
    l2: f64,
    /// sigmoid(x_j) of the worker's samples.
    weights: Vec<f64>,
    place: Range<usize>,
    /// The last y that a Hessian was asked for at, and P there: solvers ask for many products at one y.
    last: RefCell<(Vec<f64>, Vec<f64>)>,
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
            lower: Level::new(&shard.lower, classes),
            upper: Level::new(&shard.upper, classes),
            l2,
            weights: x[place.clone()].iter().map(|&x| sigmoid(x)).collect(),
            place,
            last: RefCell::default(),
        }
    }
}

impl FullSample for Full<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        let mut r = self.lower.residuals(y);
        self.lower.scale_rows(&mut r, |j| self.weights[j]);
        scaled(y, self.l2, out);
        self.lower.add_transposed(&r, out);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let mut last = self.last.borrow_mut();
        let (at, p) = &mut *last;
        if at != y {
            at.clear();
            at.extend_from_slice(y);
            *p = self.lower.probabilities(y);
        }
        let mut s = self.lower.scores(v);
        let classes = self.lower.classes;
        for (p, s) in p.chunks_exact(classes).zip(s.chunks_exact_mut(classes)) {
            softmax_derivative(p, s);
        }
        self.lower.scale_rows(&mut s, |j| self.weights[j]);
        scaled(v, self.l2, out);
        self.lower.add_transposed(&s, out);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        let mut r = self.upper.residuals(y);
        self.upper.scale_rows(&mut r, |_| 1.0);
        out.fill(0.0);
        self.upper.add_transposed(&r, out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        let (r, s) = (self.lower.residuals(y), self.lower.scores(z));
        let classes = self.lower.classes;
        out.fill(0.0);
        let rows = r.chunks_exact(classes).zip(s.chunks_exact(classes));
        for ((out, &w), (r, s)) in out[self.place.clone()].iter_mut().zip(&self.weights).zip(rows) {
            let along: f64 = r.iter().zip(s).map(|(r, s)| r * s).sum();
            *out = w * (1.0 - w) * along / self.weights.len() as f64;
        }
    }
}
