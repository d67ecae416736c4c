//! What one iteration of one worker is computed in.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::backbone::{Backbone, Buffers};
use super::head::Head;
use crate::data::{Label, Sampler, Shard};
use crate::key::Stream;
use crate::problems::{Draw, Losses, softmax};
use crate::scalar::Scalar;

/// Room for one iteration of one worker: training rows first, then validation rows.
pub struct Batch<F> {
    pub lower: usize,
    /// For samples that are gathered [rows x features].
    pub room: Array2<F>,
    pub labels: Vec<Label>,
    pub layers: Buffers<F>,
    /// [Y | Z], then [Z | Y] [width + 1 x 2 classes].
    pub heads: Array2<F>,
    /// Scores, then M [rows x 2 classes].
    pub m: Array2<F>,
    /// Phi'M with the bias in the last row [width + 1 x 2 classes].
    pub products: Array2<F>,
}

impl<F: Scalar> Batch<F> {
    pub fn new(backbone: &Backbone, head: Head, lower: usize, upper: usize) -> Self {
        let rows = lower + upper;
        Self {
            lower,
            room: Array2::zeros((rows, backbone.widths[0])),
            labels: vec![0; rows],
            layers: backbone.buffers(rows),
            heads: Array2::zeros((head.width + 1, 2 * head.classes)),
            m: Array2::zeros((rows, 2 * head.classes)),
            products: Array2::zeros((head.width + 1, 2 * head.classes)),
        }
    }
}

/// The samples of a batch: training rows, then validation rows if there are any.
pub enum Input<'a, F> {
    /// Where they lie.
    Apart([ArrayView2<'a, F>; 2]),
    /// Copied into one matrix.
    Together([ArrayView2<'a, F>; 1]),
}

impl<'a, F: Scalar> Input<'a, F> {
    /// Draws the batches and writes their labels. Slices of dense samples may stay in place; others
    /// are copied to the first rows of `room`. Without upper-level labels there is no such batch.
    pub fn draw(
        sampler: Sampler,
        in_place: bool,
        shard: &'a Shard<F>,
        draw: Draw,
        room: &'a mut Array2<F>,
        (lower_labels, upper_labels): (&mut [Label], &mut [Label]),
    ) -> Self {
        let [lower_key, upper_key] = [Stream::BatchLower, Stream::BatchUpper].map(|s| draw.key(s));
        if in_place && sampler == Sampler::Slice && !shard.lower.features.is_sparse() {
            return Self::Apart([
                Sampler::slice(&shard.lower, lower_key, lower_labels),
                Sampler::slice(&shard.upper, upper_key, upper_labels),
            ]);
        }
        let rows = lower_labels.len() + upper_labels.len();
        let (lower, rest) = room.view_mut().split_at(Axis(0), lower_labels.len());
        let (upper, _) = rest.split_at(Axis(0), upper_labels.len());
        sampler.gather(&shard.lower, lower_key, lower, lower_labels);
        sampler.gather(&shard.upper, upper_key, upper, upper_labels);
        Self::Together([room.slice(s![..rows, ..])])
    }

    /// In the order of the rows.
    pub fn parts(&self) -> &[ArrayView2<'a, F>] {
        match self {
            Self::Apart(parts) => parts,
            Self::Together(parts) => parts,
        }
    }
}

/// Turns the scores [rows x 2 classes] of a batch, whose first `lower` rows are training samples,
/// into M; returns the mean cross-entropies.
pub fn scores_to_m<F: Scalar>(
    mut m: ArrayViewMut2<'_, F>,
    labels: &[Label],
    lower: usize,
) -> Losses {
    let upper = labels.len() - lower;
    let classes = m.ncols() / 2;
    let (mut lower_loss, mut upper_loss) = (0.0, 0.0);
    let lower_scale = F::lit(1.0 / lower as f64);
    let upper_scale = F::lit(1.0 / upper as f64);
    for (i, (row, &label)) in m.rows_mut().into_iter().zip(labels).enumerate() {
        let row = row.into_slice().expect("rows are contiguous");
        let (y_part, z_part) = row.split_at_mut(classes);
        let score = y_part[usize::from(label)];
        let loss = (softmax::softmax(y_part) - score).wide();
        if i < lower {
            lower_loss += loss;
            softmax::softmax_derivative(y_part, z_part);
            softmax::residual(y_part, label);
            row.iter_mut().for_each(|v| *v *= lower_scale);
        } else {
            upper_loss += loss;
            softmax::residual(y_part, label);
            z_part.iter_mut().zip(&*y_part).for_each(|(z, &y)| *z = y * upper_scale);
            y_part.fill(F::zero());
        }
    }
    Losses { upper: upper_loss / upper as f64, lower: lower_loss / lower as f64 }
}
