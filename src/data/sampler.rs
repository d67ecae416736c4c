//! How mini-batches are drawn.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, s};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Features, Label, Rows, Split};
use crate::key::Key;
use crate::scalar::Scalar;

/// How a mini-batch is drawn from a worker's samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Uniform with replacement.
    #[default]
    Uniform,
    /// A contiguous slice, at a uniform position, of the worker's shuffled samples.
    Slice,
}

/// Positions drawn uniformly with replacement.
fn uniform(len: usize, key: Key) -> impl Iterator<Item = usize> {
    let mut rng = key.rng();
    std::iter::repeat_with(move || rng.random_range(0..len))
}

/// Where a slice of `batch` of `len` samples lies.
fn slice(len: usize, batch: usize, key: Key) -> Range<usize> {
    let start = key.rng().random_range(0..=len - batch);
    start..start + batch
}

impl Sampler {
    /// Positions in a worker's `len` samples of the batch that `key` names: those that
    /// [`Sampler::gather`] copies. Needs no sample, so that every rank can tell every worker's batch.
    ///
    /// # Panics
    /// If `len` is 0 or, for slices, smaller than the batch.
    pub fn indices(self, len: usize, key: Key, out: &mut [u32]) {
        match self {
            Self::Uniform => out.iter_mut().zip(uniform(len, key)).for_each(|(o, i)| *o = i as u32),
            Self::Slice => {
                let range = slice(len, out.len(), key);
                out.iter_mut().zip(range).for_each(|(o, i)| *o = i as u32);
            }
        }
    }

    /// As [`Sampler::indices`], and the same rows for [`Features::choose`], which is quicker with the
    /// consecutive ones of a slice.
    ///
    /// # Panics
    /// As [`Sampler::indices`].
    pub fn rows(self, len: usize, key: Key, out: &mut [u32]) -> Rows<'_> {
        self.indices(len, key, out);
        self.rows_at(out)
    }

    /// The rows of [`Sampler::rows`] from positions that [`Sampler::indices`] has written.
    pub fn rows_at(self, indices: &[u32]) -> Rows<'_> {
        match (self, indices) {
            (Self::Slice, &[first, ..]) => {
                Rows::Slice(first as usize..first as usize + indices.len())
            }
            _ => Rows::Chosen(indices),
        }
    }

    /// Copies the samples of a batch to `room` [batch x features] and their labels to `labels`.
    ///
    /// # Panics
    /// If `split` is empty or, for slices, smaller than the batch.
    pub fn gather<F: Scalar>(
        self,
        split: &Split<F>,
        key: Key,
        mut room: ArrayViewMut2<'_, F>,
        labels: &mut [Label],
    ) {
        if self == Self::Slice {
            let range = slice(split.len(), labels.len(), key);
            labels.copy_from_slice(&split.labels[range.clone()]);
            return split.features.gather(Rows::Slice(range), room);
        }
        let batch = room.rows_mut().into_iter().zip(labels);
        for ((row, label), i) in batch.zip(uniform(split.len(), key)) {
            split.features.copy_row(i, row);
            *label = split.labels[i];
        }
    }

    /// The samples of a slice [batch x features] where they lie; their labels go to `labels`.
    ///
    /// # Panics
    /// If `split` is sparse, or smaller than the batch.
    pub fn slice<'s, F: Scalar>(
        split: &'s Split<F>,
        key: Key,
        labels: &mut [Label],
    ) -> ArrayView2<'s, F> {
        let Features::Dense(array) = &split.features else { panic!("samples that are dense") };
        let range = slice(split.len(), labels.len(), key);
        labels.copy_from_slice(&split.labels[range.clone()]);
        array.slice(s![range, ..])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::key::Stream;

    #[test]
    fn positions_are_those_of_the_samples_gathered() {
        let labels: Vec<Label> = (0..50).collect();
        let array = Array2::from_shape_fn((50, 3), |(i, j)| (3 * i + j) as f64);
        let split = Split { features: Features::Dense(array), labels };
        for sampler in [Sampler::Uniform, Sampler::Slice] {
            for sub in 0..20 {
                let key = Key::shared(1, Stream::BatchLower).numbered(sub);
                let (mut room, mut labels, mut indices) = (Array2::zeros((7, 3)), [0; 7], [0; 7]);
                sampler.gather(&split, key, room.view_mut(), &mut labels);
                sampler.indices(split.len(), key, &mut indices);
                assert_eq!(indices.map(|i| i as Label), labels);
                let rows = sampler.rows(split.len(), key, &mut indices);
                assert_eq!(matches!(rows, Rows::Slice(_)), sampler == Sampler::Slice);
                let mut again = Array2::zeros((7, 3));
                split.features.gather(rows, again.view_mut());
                assert_eq!(again, room);
            }
        }
    }
}
