//! Everything that may end a run, and the exit code that it ends with.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::comm::mpi::WrongLauncher;
use crate::comm::{CommError, Failure};
use crate::config::{ConfigError, KeyError};
use crate::data::DataError;
use crate::log::{LogError, bytes};
use crate::net::{NetError, StopReason};
use crate::output::OutputError;
use crate::problems::ProblemError;
use crate::sweep::SweepError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Problem(#[from] ProblemError),
    #[error(
        "{ranks} ranks for {workers} workers: each rank hosts at least one; start at most {workers} ranks, or raise the config key `workers`"
    )]
    TooManyRanks { ranks: usize, workers: usize },
    #[error(
        "rank {rank} would hold {} of this plan, and this machine has {} in all; start more ranks on \
         more machines, or lower `workers` or the sizes under `problem`",
        bytes(*need),
        bytes(*have)
    )]
    Memory { rank: usize, need: u64, have: u64 },
    #[error(transparent)]
    Launcher(#[from] WrongLauncher),
    #[error(
        "rank 0, iteration {iteration}: the iterate is not finite: it diverges; lower the \
         algorithm's step sizes, or set its clip radius rho if it has one"
    )]
    Diverged { iteration: u64 },
    #[error(
        "stopped by {} at iteration {done} of {last}; the same command resumes the run", reason.words()
    )]
    Stopped { reason: StopReason, done: u64, last: u64 },
    #[error(
        "the run has already made {done} iterations, and {asked} are asked for; raise the config key \
         `iterations`, or give another --out"
    )]
    Further { done: u64, asked: u64 },
    #[error(
        "{} holds no checkpoint to resume from; start without --resume must, or give the --out of a run \
         that has one", folder.display()
    )]
    NoCheckpoint { folder: PathBuf },
    #[error(transparent)]
    Checkpoint(CheckpointError),
    #[error(
        "these derivatives differ from what they are compared with by more than {tolerance:e}, or one \
         of both is not a number: {wrong}"
    )]
    Gradients { wrong: String, tolerance: f64 },
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
    #[error("cannot start a thread: {0}; allow this user or job more processes (ulimit -u)")]
    Thread(std::io::Error),
    #[error("the logs differ")]
    Different,
    /// What another rank, or this one, told all ranks.
    #[error("{}", .0.message)]
    Agreed(Failure),
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Config(error.into())
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Agreed(failure) => Self::Agreed(failure),
            CheckpointError::Comm(error) => error.into(),
            error => Self::Checkpoint(error),
        }
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<CommError> for Error {
    fn from(error: CommError) -> Self {
        Self::Net(error.into())
    }
}

impl Error {
    /// Exit code: 1 two logs differ, as of diff, 2 config or usage, 3 data, 4 numerical, 5 input/output,
    /// 6 checkpoint refused, 70 internal, 75 stopped early, resumable; of a sweep that of its first member
    /// that failed other than by 4, else 4.
    pub fn code(&self) -> u8 {
        match self {
            Self::Different => 1,
            Self::Config(_) | Self::TooManyRanks { .. } | Self::Memory { .. } => 2,
            Self::Launcher(_) => 2,
            Self::Problem(ProblemError::Key(_) | ProblemError::Partition(_)) => 2,
            Self::Problem(ProblemError::Data(_)) => 3,
            Self::Diverged { .. } | Self::Gradients { .. } => 4,
            Self::Net(NetError::Worker(_) | NetError::Elsewhere) => 4,
            Self::Log(LogError::Unreported { .. }) => 70,
            Self::Log(_) | Self::Output(_) | Self::Stdout(_) => 5,
            Self::Sweep(error) => error.code(),
            Self::Further { .. } | Self::NoCheckpoint { .. } => 6,
            Self::Checkpoint(error) => error.code(),
            Self::Stopped { .. } => 75,
            Self::Net(_) | Self::Thread(_) => 70,
            Self::Agreed(failure) => failure.code,
        }
    }

    /// Whether every rank stops with this error by itself, so that only the root speaks of it.
    pub fn agreed(&self) -> bool {
        matches!(
            self,
            Self::Agreed(_)
                | Self::Diverged { .. }
                | Self::Stopped { .. }
                | Self::Launcher(_)
                | Self::Net(NetError::Worker(_) | NetError::Elsewhere | NetError::Apart { .. })
        )
    }

    /// The failure to tell other ranks.
    pub fn failure(&self) -> Failure {
        Failure { code: self.code(), message: self.to_string() }
    }
}
