//! One worker's losses over all of its samples at a fixed x, in double precision.

use std::cell::RefCell;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::backbone::{Backbone, Buffers};
use super::head::Head;
use super::{CHUNK, FullSample, Shard, Split};
use crate::data::Label;
use crate::problems::softmax;
use crate::product::product;
use crate::scalar::Scalar;
use crate::vars::add_scaled;

/// Representations are computed once; the backbone is passed again only for the hypergradient.
pub struct Full<'a, F> {
    backbone: &'a Backbone,
    head: Head,
    l2: f64,
    shard: &'a Shard<F>,
    x: &'a [f64],
    lower: Array2<f64>,
    upper: Array2<f64>,
    buffers: RefCell<Buffers<f64>>,
}

impl<'a, F: Scalar> Full<'a, F> {
    pub fn new(
        backbone: &'a Backbone,
        head: Head,
        l2: f64,
        shard: &'a Shard<F>,
        x: &'a [f64],
    ) -> Self {
        let mut buffers = backbone.buffers(CHUNK);
        let mut represent = |split: &Split<F>| {
            let mut out = Array2::zeros((split.len(), head.width));
            let mut room = vec![];
            for ((rows, labels), mut out) in
                split.chunks(CHUNK).zip(out.axis_chunks_iter_mut(Axis(0), CHUNK))
            {
                let features = split.features.dense(rows, &mut room).mapv(F::wide);
                backbone.forward(x, &[features.view()], &mut buffers);
                out.assign(&buffers.representation(labels.len()));
            }
            out
        };
        let (lower, upper) = (represent(&shard.lower), represent(&shard.upper));
        Self { backbone, head, l2, shard, x, lower, upper, buffers: RefCell::new(buffers) }
    }

    fn weights<'v>(&self, v: &'v [f64]) -> ArrayView2<'v, f64> {
        ArrayView2::from_shape((self.head.width + 1, self.head.classes), v)
            .expect("y and z have the head's shape")
    }

    /// Phi V + bias [samples x classes].
    fn scores(&self, representation: ArrayView2<f64>, v: &[f64]) -> Array2<f64> {
        let mut scores = Array2::zeros((representation.nrows(), self.head.classes));
        self.head.scores(representation, self.weights(v), scores.view_mut());
        scores
    }

    /// P = softmax(Phi Y + bias) [samples x classes].
    fn probabilities(&self, representation: ArrayView2<f64>, y: &[f64]) -> Array2<f64> {
        let mut p = self.scores(representation, y);
        for row in p.rows_mut() {
            softmax::softmax(row.into_slice().expect("rows are contiguous"));
        }
        p
    }

    /// R = (P - T) / B, of a chunk of B = `samples` samples.
    fn residuals(
        &self,
        representation: ArrayView2<f64>,
        labels: &[Label],
        y: &[f64],
        samples: usize,
    ) -> Array2<f64> {
        let mut p = self.probabilities(representation, y);
        for (row, &label) in p.rows_mut().into_iter().zip(labels) {
            softmax::residual(row.into_slice().expect("rows are contiguous"), label);
        }
        p / samples as f64
    }

    /// dR = P o (S - rowsum(P o S)) / B for S = Phi Z + bias.
    fn curvature(
        &self,
        representation: ArrayView2<f64>,
        y: &[f64],
        z: &[f64],
        samples: usize,
    ) -> Array2<f64> {
        let p = self.probabilities(representation, y);
        let mut s = self.scores(representation, z);
        for (s, p) in s.rows_mut().into_iter().zip(p.rows()) {
            let s = s.into_slice().expect("rows are contiguous");
            softmax::softmax_derivative(p.to_slice().expect("rows are contiguous"), s);
        }
        s / samples as f64
    }

    /// out = Phi'M with the bias below it.
    fn head_gradient(&self, representation: &Array2<f64>, m: &Array2<f64>, out: &mut [f64]) {
        let shape = (self.head.width + 1, self.head.classes);
        let out = ArrayViewMut2::from_shape(shape, out).expect("y and z have the head's shape");
        let (weights, mut bias) = out.split_at(Axis(0), self.head.width);
        product(representation.t(), m.view(), false, weights);
        bias.row_mut(0).assign(&m.sum_axis(Axis(0)));
    }

    /// out += backprop of what `signal(representation, labels)` says of each chunk of a split.
    fn backprop(
        &self,
        split: &Split<F>,
        out: &mut [f64],
        signal: impl Fn(ArrayView2<f64>, &[Label], ArrayViewMut2<f64>),
    ) {
        let mut buffers = self.buffers.borrow_mut();
        let mut room = vec![];
        for (rows, labels) in split.chunks(CHUNK) {
            let features = split.features.dense(rows, &mut room).mapv(F::wide);
            self.backbone.forward(self.x, &[features.view()], &mut buffers);
            let (representation, chunk_signal) = buffers.representation_and_signal(labels.len());
            signal(representation, labels, chunk_signal);
            self.backbone.backward(self.x, &[features.view()], &mut buffers, true, out);
        }
    }
}

impl<F: Scalar> FullSample for Full<'_, F> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        let labels = &self.shard.lower.labels;
        let r = self.residuals(self.lower.view(), labels, y, labels.len());
        self.head_gradient(&self.lower, &r, out);
        add_scaled(out, self.l2, y);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let dr = self.curvature(self.lower.view(), y, v, self.shard.lower.len());
        self.head_gradient(&self.lower, &dr, out);
        add_scaled(out, self.l2, v);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        let labels = &self.shard.upper.labels;
        let r = self.residuals(self.upper.view(), labels, y, labels.len());
        self.head_gradient(&self.upper, &r, out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        let body = |v| self.weights(v).slice_move(s![..self.head.width, ..]);
        let Shard { lower, upper, .. } = self.shard;
        out.fill(0.0);
        self.backprop(lower, out, |phi, labels, mut signal| {
            let r = self.residuals(phi, labels, y, lower.len());
            let dr = self.curvature(phi, y, z, lower.len());
            product(r.view(), body(z).t(), false, signal.view_mut());
            product(dr.view(), body(y).t(), true, signal);
        });
        self.backprop(upper, out, |phi, labels, signal| {
            let r = self.residuals(phi, labels, y, upper.len());
            product(r.view(), body(y).t(), false, signal);
        });
    }
}
