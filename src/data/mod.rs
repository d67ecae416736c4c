//! Data sets: readers, the embedded subset, and the partition into one [`Shard`] per worker.

mod idx;
mod partition;
mod sets;
mod shard;

use std::path::PathBuf;

pub use partition::{Partition, PartitionError};
pub use sets::{DATASETS, Dataset, Folder};
pub use shard::{LoadError, Loaded, Request, Sampler, Shard, Split, load};

/// A data file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("data file {}: {problem}", file.display())]
pub struct DataError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: DataProblem,
}

/// What may be wrong with a data file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DataProblem {
    #[error("not found; {remedy}")]
    NotFound { remedy: String },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("not an idx file of {expected}: its first four bytes are {found:02x?}")]
    Magic { found: [u8; 4], expected: &'static str },
    #[error("it ends within {what} {at} of {count}; fetch it again")]
    Truncated { what: &'static str, at: u64, count: u64 },
    #[error("bytes are left behind {what} {count}, the last one by its header; fetch it again")]
    TooLong { what: &'static str, count: u64 },
    #[error("its header says {found} {what}, expected {expected}")]
    Count { what: &'static str, found: u64, expected: String },
    #[error("image {sample} holds a value that is not finite, at entry {entry}")]
    NotFinite { sample: u64, entry: usize },
    #[error("label {label} of sample {sample} is not below the number of classes, {classes}")]
    Label { label: u8, sample: u64, classes: usize },
}
