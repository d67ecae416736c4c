//! What problems with samples share: their mini-batches' keys.

use crate::config::{Count, KeyError, Share};
use crate::data::Sampler;

/// No mini-batch has more samples.
const MAX: usize = 1_000_000;

/// Default of `batch_lower` and `batch_upper`.
pub fn default_batch() -> Count {
    Count::constant(64.0)
}

/// Default of `validation_fraction`.
pub fn default_validation() -> Share {
    Share::constant(0.2)
}

/// The keys that say how a worker's two mini-batches are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// `batch_lower`.
    pub lower: Count,
    /// `batch_upper`.
    pub upper: Count,
    /// `sampler`.
    pub sampler: Sampler,
}

impl Batches {
    fn by_key(&self) -> [(&'static str, usize); 2] {
        [("batch_lower", self.lower.get()), ("batch_upper", self.upper.get())]
    }

    /// Whether the numbers make sense without the data.
    pub fn check(&self) -> Result<(), KeyError> {
        match self.by_key().into_iter().find(|(_, batch)| *batch > MAX) {
            Some((key, batch)) => {
                Err(KeyError::value(key, format!("must be at most {MAX}, found {batch}")))
            }
            None => Ok(()),
        }
    }

    /// A slice cannot be longer than what it is cut from: `sizes` of every worker's levels.
    pub fn check_slices(&self, sizes: &[[usize; 3]]) -> Result<(), KeyError> {
        for (level, (key, batch)) in self.by_key().into_iter().enumerate() {
            let smallest = sizes.iter().map(|sizes| sizes[level]).min().unwrap_or(usize::MAX);
            if self.sampler == Sampler::Slice && batch > smallest {
                let problem = format!(
                    "the slice sampler cannot cut {batch} samples from a worker's {smallest}; use a \
                     smaller batch or \"sampler\": \"uniform\""
                );
                return Err(KeyError::value(key, problem));
            }
        }
        Ok(())
    }
}
