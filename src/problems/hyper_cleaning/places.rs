//! Whose entries of x are whose, and which of them a mini-batch touches.

use std::ops::Range;

use crate::data::Sampler;
use crate::key::{Key, Stream, Support};

/// Where each worker's samples stand in x.
#[derive(Clone, Debug)]
pub struct Places(Vec<usize>);

impl Places {
    /// For workers with so many samples each.
    pub fn new(samples: impl Iterator<Item = usize>) -> Self {
        let mut ends = vec![0];
        ends.extend(samples.scan(0, |end, samples| {
            *end += samples;
            Some(*end)
        }));
        Self(ends)
    }

    pub fn of(&self, worker: usize) -> Range<usize> {
        self.0[worker]..self.0[worker + 1]
    }

    pub fn all(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.windows(2).map(|ends| ends[0]..ends[1])
    }

    pub fn total(&self) -> usize {
        self.0[self.0.len() - 1]
    }
}

/// The entries of x that a mini-batch touches.
pub struct BatchSupport {
    pub places: Places,
    pub batch: usize,
    pub sampler: Sampler,
}

impl Support for BatchSupport {
    fn positions(&self, key: Key, out: &mut Vec<u32>) {
        let place = self.places.of(key.worker as usize);
        out.clear();
        out.resize(self.batch, 0);
        self.sampler.indices(place.len(), Key { stream: Stream::BatchLower, ..key }, out);
        out.iter_mut().for_each(|j| *j += place.start as u32);
        out.sort_unstable();
        out.dedup();
    }

    fn most(&self) -> usize {
        self.batch
    }
}
