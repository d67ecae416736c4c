//! Checkpoint sets: what a run needs to go on, on any number of ranks.
//!
//! ```text
//! checkpoint-ITERATION/part-NODE    sections one behind the other: the server's state, a worker's state, ...
//! checkpoint-ITERATION/manifest.json    where each section lies, with its CRC-32C; the seal
//! ```
//!
//! Each node's first rank writes its node's part; then the root writes the manifest. Every file is written
//! aside, synced and renamed. **A folder without a manifest is no set**; the next start removes it. Two sets are
//! kept: the older one loses its manifest first, after the new one has got its own.

mod manifest;
mod nodes;
mod restore;
mod save;
mod sets;

use std::path::Path;

use serde_json::Value;

use crate::archive::{Archive, ArchiveError, Holder};
use crate::comm::{Comm, CommError, Failure, Placement, agree};
use crate::output::{Claim, OutputError};

pub use manifest::Identity;
pub use restore::{CheckLog, Restored};
pub use save::State;

use nodes::Nodes;

/// A visit of the state of a holder.
pub type Visit<'v> = &'v mut dyn FnMut(Holder, &mut Archive<'_>);

/// The checkpoint sets of a run, as a rank sees them.
pub struct Checkpoints {
    claim: Claim,
    nodes: Nodes,
    identity: Identity,
}

impl Checkpoints {
    /// Of the run in the folder that is claimed; `node` names this rank's node. Fails unless every node sees
    /// the claim. Every rank calls this.
    pub fn new(
        comm: &mut dyn Comm,
        claim: Claim,
        node: &str,
        identity: Identity,
    ) -> Result<Self, CheckpointError> {
        let nodes = Nodes::find(comm, node)?;
        let seen = if nodes.leads(comm.rank()) { nodes::await_claim(&claim, node) } else { Ok(()) };
        together(comm, seen)?;
        Ok(Self { claim, nodes, identity })
    }

    /// Removes all sets but the newest ones; at the root.
    pub fn keep(&self, newest: usize) -> Result<(), CheckpointError> {
        self.claim.check()?;
        Ok(sets::keep(self.claim.folder(), newest)?)
    }

    fn placement(&self, ranks: usize) -> Placement {
        Placement { workers: self.identity.workers, ranks }
    }
}

/// Iteration of the newest sealed set of a folder.
pub fn newest(folder: &Path) -> Result<Option<u64>, OutputError> {
    Ok(sets::sealed(folder)?.pop())
}

/// Removes all sets of a folder that no run is in.
pub fn discard(folder: &Path) -> Result<(), OutputError> {
    sets::clean(folder)?;
    sets::keep(folder, 0)
}

/// Whether a run of `ours` may go on from what `theirs`, the config of `set`, has left.
pub fn same_config(set: &str, theirs: &Value, ours: &Value) -> Result<(), CheckpointError> {
    match manifest::first_difference(theirs, ours) {
        None => Ok(()),
        Some((key, theirs, ours)) => Err(CheckpointError::Other {
            set: set.to_owned(),
            what: format!("the config key `{key}`"),
            theirs: theirs.to_string(),
            ours: ours.to_string(),
            remedy: manifest::REMEDY,
        }),
    }
}

/// A result of every rank, or the failure of the lowest rank that failed.
fn together<T>(
    comm: &mut dyn Comm,
    mine: Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let told = mine.as_ref().map(|_| ()).map_err(CheckpointError::failure);
    agree(comm, told)?.map_err(CheckpointError::Agreed)?;
    mine
}

/// A checkpoint could not be written, or not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Comm(#[from] CommError),
    #[error(
        "iteration {iteration}: {whose}: {source}: it diverges; lower the algorithm's step sizes, or set its clip radius rho if it has one"
    )]
    State { iteration: u64, whose: String, source: ArchiveError },
    #[error(
        "{set}: {whose}: {source}: another version of the program, or of the problem, wrote it; use that one, or \
         give another --out"
    )]
    Length { set: String, whose: String, source: ArchiveError },
    /// The checkpoint is of another run.
    #[error("{set} cannot be resumed from: {what} is {theirs} there, and {ours} now; {remedy}")]
    Other { set: String, what: String, theirs: String, ours: String, remedy: &'static str },
    #[error("no checkpoint in {folder} can be used: {}; give another --out to start anew, or restore the files", .reasons.join("; "))]
    AllDamaged { folder: String, reasons: Vec<String> },
    #[error(
        "node {node} does not see the lock of {folder}: the output folder must be on a file system that all \
         nodes share; give another --out"
    )]
    NotShared { node: String, folder: String },
    #[error("message about a checkpoint cannot be read: {0}")]
    Message(String),
    /// What a rank told all ranks.
    #[error("{}", .0.message)]
    Agreed(Failure),
}

impl CheckpointError {
    /// Exit code: 4 numerical, 5 input/output, 6 refused, 70 internal.
    pub fn code(&self) -> u8 {
        match self {
            Self::Output(_) | Self::NotShared { .. } => 5,
            Self::State { .. } => 4,
            Self::Length { .. } | Self::Other { .. } | Self::AllDamaged { .. } => 6,
            Self::Comm(_) | Self::Message(_) => 70,
            Self::Agreed(failure) => failure.code,
        }
    }

    fn failure(&self) -> Failure {
        Failure { code: self.code(), message: self.to_string() }
    }
}
