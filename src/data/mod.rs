//! Data sets: readers, the embedded subset, and the partition into one [`Shard`] per worker.

mod classes;
mod csr;
mod dataset;
mod decompress;
mod features;
mod idx;
mod load;
mod partition;
mod sampler;
mod scale;
mod sets;
mod source;
mod split;
mod svmlight;
mod table;

use std::path::PathBuf;

pub use csr::Csr;
pub use dataset::{Dataset, FORMATS, Files, IdxFiles, SvmlightFiles};
pub use features::{Chosen, Features, Row, Rows};
pub use idx::Idx;
pub use load::{LoadError, Loaded, Request, load};
pub use partition::{Partition, PartitionError};
pub use sampler::Sampler;
pub use scale::Scale;
pub use sets::{DATASETS, Folder, Named};
pub use split::{Shard, Split};
pub use svmlight::{Indices, read as read_svmlight};

/// Class of a sample.
pub type Label = u16;

/// No data set has more classes.
pub const MAX_CLASSES: usize = 1 << Label::BITS;
/// No sample has more entries.
pub const MAX_FEATURES: usize = 1 << 24;

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
    #[error("{}", decompress::explain(.0))]
    Io(#[from] std::io::Error),
    #[error("not an idx file of {expected}: its first four bytes are {found:02x?}")]
    Magic { found: [u8; 4], expected: &'static str },
    #[error("{} (at byte {byte} of its content)", decompress::explain(source))]
    Broken { byte: u64, source: std::io::Error },
    #[error("it ends within {what} {at} of {count}, at byte {byte}; fetch it again")]
    Truncated { what: &'static str, at: u64, count: u64, byte: u64 },
    #[error(
        "bytes are left behind {what} {count}, the last one by its header, from byte {byte} on; fetch \
         it again"
    )]
    TooLong { what: &'static str, count: u64, byte: u64 },
    #[error("its header says {found} {what}, expected {expected}")]
    Count { what: &'static str, found: u64, expected: String },
    #[error("image {sample} holds a value that is not finite, at entry {entry}, byte {byte}")]
    NotFinite { sample: u64, entry: usize, byte: u64 },
    #[error("label {label} of sample {sample}, at byte {byte}, {problem}")]
    Label { label: f64, sample: u64, byte: u64, problem: String },
    #[error("line {line}, byte {byte}: {problem}")]
    Line { line: u64, byte: usize, problem: String },
    #[error("line {line}: {problem}")]
    Row { line: u64, problem: String },
    #[error("it has {found} {what}, expected at least {least}")]
    Shape { what: &'static str, found: usize, least: usize },
    #[error("it holds more than {most} bytes, the most that is read as a whole")]
    TooMuch { most: u64 },
    #[error("it holds no sample with features")]
    Empty,
    #[error("it has changed since it was first read; start again")]
    Changed,
    #[error("{samples} samples of {features} entries each do not fit memory as a dense matrix")]
    Memory { samples: usize, features: usize },
}
