//! One worker's losses over all of its samples at a fixed x, in double precision.

use std::cell::RefCell;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::backbone::{Backbone, Buffers};
use super::head::{self, Head};
use super::{CHUNK, FullSample, Shard, Split};
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
            for ((features, labels), mut out) in
                split.chunks(CHUNK).zip(out.axis_chunks_iter_mut(Axis(0), CHUNK))
            {
                backbone.forward(x, features.mapv(F::wide).view(), &mut buffers);
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

    /// (P - T) / B [samples x classes]; given z also P o (S - rowsum(P o S)) / B.
    fn residuals(
        &self,
        representation: ArrayView2<f64>,
        labels: &[u8],
        y: &[f64],
        z: Option<&[f64]>,
        samples: usize,
    ) -> (Array2<f64>, Option<Array2<f64>>) {
        let shape = (labels.len(), self.head.classes);
        let mut p = Array2::zeros(shape);
        self.head.scores(representation, self.weights(y), p.view_mut());
        let mut s = z.map(|z| {
            let mut s = Array2::zeros(shape);
            self.head.scores(representation, self.weights(z), s.view_mut());
            s
        });
        for (i, &label) in labels.iter().enumerate() {
            let mut row = p.row_mut(i);
            let row = row.as_slice_mut().expect("rows are contiguous");
            head::softmax(row, label);
            if let Some(s) = &mut s {
                let mut s = s.row_mut(i);
                head::softmax_derivative(row, s.as_slice_mut().expect("rows are contiguous"));
            }
            head::residual(row, label);
        }
        let scale = 1.0 / samples as f64;
        p *= scale;
        if let Some(s) = &mut s {
            *s *= scale;
        }
        (p, s)
    }

    /// out = Phi'M with the bias below it.
    fn head_gradient(&self, representation: &Array2<f64>, m: &Array2<f64>, out: &mut [f64]) {
        let shape = (self.head.width + 1, self.head.classes);
        let out = ArrayViewMut2::from_shape(shape, out).expect("y and z have the head's shape");
        let (weights, mut bias) = out.split_at(Axis(0), self.head.width);
        product(representation.t(), m.view(), false, weights);
        bias.row_mut(0).assign(&m.sum_axis(Axis(0)));
    }

    /// out += backprop of R Z' + dR Y' (lower level) or of R Y' (upper level, no z).
    fn backprop(&self, lower: bool, y: &[f64], z: Option<&[f64]>, out: &mut [f64]) {
        let split = if lower { &self.shard.lower } else { &self.shard.upper };
        let mut buffers = self.buffers.borrow_mut();
        let body = |v| self.weights(v).slice_move(s![..self.head.width, ..]);
        for (features, labels) in split.chunks(CHUNK) {
            let features = features.mapv(F::wide);
            self.backbone.forward(self.x, features.view(), &mut buffers);
            let (phi, mut signal) = buffers.representation_and_signal(labels.len());
            let (r, dr) = self.residuals(phi, labels, y, z, split.len());
            match (z, dr) {
                (Some(z), Some(dr)) => {
                    product(r.view(), body(z).t(), false, signal.view_mut());
                    product(dr.view(), body(y).t(), true, signal);
                }
                _ => product(r.view(), body(y).t(), false, signal),
            }
            self.backbone.backward(self.x, features.view(), &mut buffers, true, out);
        }
    }
}

impl<F: Scalar> FullSample for Full<'_, F> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        let labels = &self.shard.lower.labels;
        let (r, _) = self.residuals(self.lower.view(), labels, y, None, labels.len());
        self.head_gradient(&self.lower, &r, out);
        add_scaled(out, self.l2, y);
    }

    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]) {
        let labels = &self.shard.lower.labels;
        let (r, dr) = self.residuals(self.lower.view(), labels, y, Some(v), labels.len());
        self.head_gradient(&self.lower, &dr.unwrap_or(r), out);
        add_scaled(out, self.l2, v);
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        let labels = &self.shard.upper.labels;
        let (r, _) = self.residuals(self.upper.view(), labels, y, None, labels.len());
        self.head_gradient(&self.upper, &r, out);
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.backprop(true, y, Some(z), out);
        self.backprop(false, y, None, out);
    }
}
