//! The backbone phi_x: a multi-layer perceptron whose last hidden layer is the representation.
//!
//! Layer l maps [in_l] to [out_l] by W_l (row-major [in_l x out_l]) and a bias; in x, W_l is followed
//! by its bias, layer after layer.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::product::product;
use crate::scalar::Scalar;
use crate::simd::vectorized;
use crate::vars::add_scaled;

/// Nonlinearity of the hidden layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Hyperbolic tangent.
    #[default]
    Tanh,
    /// max(0, v).
    Relu,
    /// log(1 + exp(v)).
    Softplus,
}

impl Activation {
    /// v = activation(v + bias), entry by entry.
    fn apply<F: Scalar>(self, v: &mut [F], bias: &[F]) {
        let pairs = v.iter_mut().zip(bias);
        match self {
            Self::Tanh => vectorized(
                #[inline(always)]
                || pairs.for_each(|(v, &b)| *v = (*v + b).fast_tanh()),
            ),
            Self::Relu => vectorized(
                #[inline(always)]
                || pairs.for_each(|(v, &b)| *v = (*v + b).positive_part()),
            ),
            Self::Softplus => pairs.for_each(|(v, &b)| {
                let shifted = *v + b;
                *v = shifted.positive_part() + (-shifted.abs()).exp().ln_1p();
            }),
        }
    }

    /// signal *= activation', as a function of the *output*, so that inputs need not be kept.
    fn pull_back<F: Scalar>(self, signal: &mut [F], output: &[F]) {
        let pairs = signal.iter_mut().zip(output);
        match self {
            Self::Tanh => vectorized(
                #[inline(always)]
                || pairs.for_each(|(s, &o)| *s *= F::one() - o * o),
            ),
            Self::Relu => vectorized(
                #[inline(always)]
                || pairs.for_each(|(s, &o)| *s = if o > F::zero() { *s } else { F::zero() }),
            ),
            Self::Softplus => pairs.for_each(|(s, &o)| *s *= -(-o).exp_m1()),
        }
    }
}

/// Shapes of the layers.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// Widths from the input to the representation.
    pub widths: Vec<usize>,
    /// Nonlinearity after every layer.
    pub activation: Activation,
}

/// Outputs of every layer for one batch, and room for the backward pass. Made for the largest batch.
pub struct Buffers<F> {
    outputs: Vec<Array2<F>>,
    signals: Vec<Array2<F>>,
}

impl<F: Scalar> Buffers<F> {
    /// The representation of the last forward pass [rows x width].
    pub fn representation(&self, rows: usize) -> ArrayView2<'_, F> {
        self.outputs[self.outputs.len() - 1].slice(s![..rows, ..])
    }

    /// Representation and the loss's derivative with respect to it, to be written before
    /// [`Backbone::backward`].
    pub fn representation_and_signal(
        &mut self,
        rows: usize,
    ) -> (ArrayView2<'_, F>, ArrayViewMut2<'_, F>) {
        let last = self.outputs.len() - 1;
        (self.outputs[last].slice(s![..rows, ..]), self.signals[last].slice_mut(s![..rows, ..]))
    }
}

impl Backbone {
    /// Number of entries of x.
    pub fn dim(&self) -> usize {
        self.widths.windows(2).map(|w| (w[0] + 1) * w[1]).sum()
    }

    /// The same for widths that may be beyond all machines.
    pub fn checked_dim(&self) -> Option<usize> {
        self.widths
            .windows(2)
            .try_fold(0usize, |sum, w| sum.checked_add(w[0].checked_add(1)?.checked_mul(w[1])?))
    }

    /// Width of the representation.
    pub fn width(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    /// Buffers for batches of up to `rows` samples.
    pub fn buffers<F: Scalar>(&self, rows: usize) -> Buffers<F> {
        let make = || self.widths[1..].iter().map(|&width| Array2::zeros((rows, width))).collect();
        Buffers { outputs: make(), signals: make() }
    }

    /// Weights and bias of each layer, from the input on.
    fn layers<'a, F: Scalar>(
        &'a self,
        mut x: &'a [F],
    ) -> impl Iterator<Item = (ArrayView2<'a, F>, &'a [F])> {
        self.widths.windows(2).map(move |w| {
            let weights;
            let bias;
            (weights, x) = x.split_at(w[0] * w[1]);
            (bias, x) = x.split_at(w[1]);
            (ArrayView2::from_shape((w[0], w[1]), weights).expect("widths fit x"), bias)
        })
    }

    /// phi_x(input), kept in `buffers`; `input` [rows x widths[0]] is given in parts of its rows.
    pub fn forward<F: Scalar>(
        &self,
        x: &[F],
        input: &[ArrayView2<'_, F>],
        buffers: &mut Buffers<F>,
    ) {
        let rows: usize = input.iter().map(ArrayView2::nrows).sum();
        for (l, (weights, bias)) in self.layers(x).enumerate() {
            let (before, from_here) = buffers.outputs.split_at_mut(l);
            let mut output = from_here[0].slice_mut(s![..rows, ..]);
            match before.last() {
                Some(below) => {
                    product(below.slice(s![..rows, ..]), weights, false, output.view_mut());
                }
                None => {
                    for (part, at) in parts(input) {
                        product(part, weights, false, output.slice_mut(s![at, ..]));
                    }
                }
            }
            for row in output.rows_mut() {
                self.activation.apply(row.into_slice().expect("rows are contiguous"), bias);
            }
        }
    }

    /// Derivative with respect to x [p] of the loss whose derivative with respect to the
    /// representation lies in `buffers` (see [`Buffers::representation_and_signal`]), for the
    /// `input` of the last forward pass: written over `out`, or added to it.
    pub fn backward<F: Scalar>(
        &self,
        x: &[F],
        input: &[ArrayView2<'_, F>],
        buffers: &mut Buffers<F>,
        add: bool,
        out: &mut [F],
    ) {
        let rows: usize = input.iter().map(ArrayView2::nrows).sum();
        let weights: Vec<ArrayView2<F>> = self.layers(x).map(|(weights, _)| weights).collect();
        let mut end = out.len();
        for l in (0..weights.len()).rev() {
            let (before, from_here) = buffers.signals.split_at_mut(l);
            let mut signal = from_here[0].slice_mut(s![..rows, ..]);
            let output = buffers.outputs[l].slice(s![..rows, ..]);
            let signals = signal.as_slice_mut().expect("rows are contiguous");
            self.activation.pull_back(signals, output.as_slice().expect("rows are contiguous"));
            let (inputs, width) = weights[l].dim();
            let start = end - (inputs + 1) * width;
            let (weights_out, bias_out) = out[start..end].split_at_mut(inputs * width);
            end = start;
            let gradient = ArrayViewMut2::from_shape((inputs, width), weights_out);
            let mut gradient = gradient.expect("widths fit x");
            if l > 0 {
                let below = buffers.outputs[l - 1].slice(s![..rows, ..]);
                product(below.t(), signal.view(), add, gradient);
            } else {
                for (part, at) in parts(input) {
                    let add = add || at.start > 0;
                    product(part.t(), signal.slice(s![at, ..]), add, gradient.view_mut());
                }
            }
            if !add {
                bias_out.fill(F::zero());
            }
            for row in signal.rows() {
                add_scaled(bias_out, F::one(), row.to_slice().expect("rows are contiguous"));
            }
            if let Some(below) = before.last_mut() {
                let below = below.slice_mut(s![..rows, ..]);
                product(signal.view(), weights[l].t(), false, below);
            }
        }
    }
}

/// The parts of an input with the rows that each one makes up.
fn parts<'a, F>(
    input: &'a [ArrayView2<'a, F>],
) -> impl Iterator<Item = (ArrayView2<'a, F>, Range<usize>)> {
    input.iter().scan(0, |start, part| {
        let at = *start..*start + part.nrows();
        *start = at.end;
        Some((part.view(), at))
    })
}
