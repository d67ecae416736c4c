//! Mini-batches of problems with samples: what their config keys may say.

use crate::config::{Count, KeyError};
use crate::data::Sampler;

/// No mini-batch has more samples.
const MAX_BATCH: usize = 1_000_000;

/// Keys `batch_lower`, `batch_upper` and `sampler`.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// Samples of a lower-level mini-batch.
    pub lower: Count,
    /// Samples of an upper-level mini-batch.
    pub upper: Count,
    /// How they are drawn.
    pub sampler: Sampler,
}

impl Batches {
    fn keys(self) -> [(&'static str, usize); 2] {
        [("batch_lower", self.lower.get()), ("batch_upper", self.upper.get())]
    }

    /// Memory holds a batch.
    pub fn check(self) -> Result<(), KeyError> {
        for (key, batch) in self.keys() {
            if batch > MAX_BATCH {
                let problem = format!("must be at most {MAX_BATCH}, found {batch}");
                return Err(KeyError::value(key, problem));
            }
        }
        Ok(())
    }

    /// A slice cannot be longer than what it is cut from: `sizes` (lower, upper, test) of the workers.
    pub fn check_slices(self, sizes: &[[usize; 3]]) -> Result<(), KeyError> {
        for (level, (key, batch)) in self.keys().into_iter().enumerate() {
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
