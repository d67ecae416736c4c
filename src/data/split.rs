//! What one worker holds of a data set.

use std::ops::Range;

use super::{Features, Label};
use crate::scalar::Scalar;

/// Samples with labels.
#[derive(Clone, Debug)]
pub struct Split<F> {
    /// One sample a row [n x features].
    pub features: Features<F>,
    /// Class of each sample [n].
    pub labels: Vec<Label>,
}

impl<F: Scalar> Split<F> {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Consecutive parts of at most `size` samples: rows for [`Features::dense`] or
    /// [`Features::choose`], and their labels.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = (Range<usize>, &[Label])> {
        (self.labels.chunks(size).enumerate())
            .map(move |(i, labels)| (i * size..i * size + labels.len(), labels))
    }
}

/// One worker's samples.
#[derive(Clone, Debug)]
pub struct Shard<F> {
    /// Lower level: training samples.
    pub lower: Split<F>,
    /// Upper level: validation samples.
    pub upper: Split<F>,
    /// The worker's equal share of the test set.
    pub test: Split<F>,
}
