//! One worker's losses over all of its samples at a fixed x, in double precision.

use std::cell::RefCell;

use super::loss;
use super::model::Model;
use super::{FullSample, Shard, Split};
use crate::data::{Features, Label, Rows};
use crate::problems::softmax;
use crate::scalar::Scalar;

/// All samples of a level.
struct Level<'a> {
    features: Features<f64>,
    labels: &'a [Label],
}

impl<'a> Level<'a> {
    fn of<F: Scalar>(split: &'a Split<F>) -> Self {
        Self { features: split.features.wide(), labels: &split.labels }
    }

    fn scores(&self, model: Model, v: &[f64]) -> Vec<f64> {
        let mut room = vec![];
        let a = self.features.choose(Rows::Slice(0..self.labels.len()), &mut room);
        let mut scores = vec![0.0; self.labels.len() * model.columns];
        model.scores(&a, v, &mut scores);
        scores
    }

    /// P - T: derivatives of the losses with respect to the scores at Y.
    fn residuals(&self, model: Model, y: &[f64]) -> Vec<f64> {
        let mut scores = self.scores(model, y);
        loss::residuals(model.columns, &mut scores, &mut [], self.labels, 1.0);
        scores
    }

    /// out += the mean over the samples of A'R.
    fn add_mean(&self, model: Model, mut r: Vec<f64>, out: &mut [f64]) {
        r.iter_mut().for_each(|r| *r /= self.labels.len() as f64);
        let mut room = vec![];
        let a = self.features.choose(Rows::Slice(0..self.labels.len()), &mut room);
        model.add_transposed(&a, &r, out);
    }
}

/// The samples in double precision, and the penalty's weights.
pub struct Full<'a> {
    model: Model,
    weights: Vec<f64>,
    lower: Level<'a>,
    upper: Level<'a>,
    /// Where the lower level's residuals were needed last, and what they were: a Hessian is asked for
    /// along many vectors at one y.
    latest: RefCell<(Vec<f64>, Vec<f64>)>,
}

impl<'a> Full<'a> {
    pub fn new<F: Scalar>(model: Model, shard: &'a Shard<F>, x: &[f64]) -> Self {
        Self {
            model,
            weights: x.iter().map(|x| x.exp()).collect(),
            lower: Level::of(&shard.lower),
            upper: Level::of(&shard.upper),
            latest: RefCell::default(),
        }
    }

    /// exp(x) o v.
    fn weighed(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; v.len()];
        self.model.weigh(&self.weights, v, &mut out);
        out
    }
}

impl FullSample for Full<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        self.model.weigh(&self.weights, y, out);
        self.lower.add_mean(self.model, self.lower.residuals(self.model, y), out);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let n = self.model.columns;
        let mut latest = self.latest.borrow_mut();
        if latest.0 != y {
            *latest = (y.to_vec(), self.lower.residuals(self.model, y));
        }
        let mut change = self.lower.scores(self.model, v);
        if n == 1 {
            // A residual is p up to its sign.
            let r = &latest.1;
            change.iter_mut().zip(r).for_each(|(s, r)| *s *= r.abs() * (1.0 - r.abs()));
        } else {
            let mut p = vec![0.0; n];
            let rows = change.chunks_exact_mut(n).zip(latest.1.chunks_exact(n));
            for ((s, r), &label) in rows.zip(self.lower.labels) {
                p.copy_from_slice(r);
                p[usize::from(label)] += 1.0;
                softmax::softmax_derivative(&p, s);
            }
        }
        self.model.weigh(&self.weights, v, out);
        self.lower.add_mean(self.model, change, out);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.upper.add_mean(self.model, self.upper.residuals(self.model, y), out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        self.model.sums(&self.weighed(y), z, out);
    }
}
