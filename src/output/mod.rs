//! The output folder: who may write to it, and writing so that a reader sees the old file or the new
//! one, never a part of either.
//!
//! A run holds the folder by a [`Lock`]. Whoever writes there shows its [`Claim`], which is read again
//! before each rename: a run that was cut off, and whose folder another one has taken over meanwhile,
//! writes nothing more.

mod claim;
mod files;
mod holder;
mod lock;
mod taker;

use std::path::{Path, PathBuf};

pub use claim::Claim;
pub use files::{create_folder, replace};
pub use lock::Lock;

/// The file by which a folder is known to be a sweep's. The `lock` beside it is none of a run.
pub const SWEEP_RECORD: &str = "sweep.json";

/// The output folder cannot be used, or no longer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OutputError {
    #[error("cannot write {}: {source}; check space and permissions", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}: {source}; check that it is there, and permissions", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the output folder {} is in use by {holder}; wait for its end or give another --out; if that \
         machine is gone, wait 60 s and start again",
        folder.display()
    )]
    Locked { folder: PathBuf, holder: String },
    #[error("the output folder {} holds a sweep; give another --out", folder.display())]
    Sweep { folder: PathBuf },
    #[error(
        "this run has lost its output folder {} and wrote nothing more to it: {how}; see that one run \
         has the folder, and start it again: it goes on from what was saved",
        folder.display()
    )]
    LostLock { folder: PathBuf, how: String },
}

impl OutputError {
    fn write(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    fn read(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}
