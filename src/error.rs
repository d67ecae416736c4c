//! Everything that may end a run, and the exit code that it ends with.

use crate::comm::mpi::WrongLauncher;
use crate::comm::{CommError, Failure};
use crate::config::{ConfigError, KeyError};
use crate::data::DataError;
use crate::log::{LogError, bytes};
use crate::net::NetError;
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
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// What another rank, or this one, told all ranks.
    #[error("{}", .0.message)]
    Agreed(Failure),
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Config(error.into())
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
    /// Exit code: 2 config or usage, 3 data, 4 numerical, 5 input/output, 70 internal,
    /// 75 stopped early; of a sweep that of its first member that failed other than by 4, else 4.
    pub fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::TooManyRanks { .. } | Self::Memory { .. } => 2,
            Self::Launcher(_) => 2,
            Self::Problem(ProblemError::Key(_) | ProblemError::Partition(_)) => 2,
            Self::Problem(ProblemError::Data(_)) => 3,
            Self::Diverged { .. } | Self::Gradients { .. } => 4,
            Self::Net(NetError::Worker(_) | NetError::Elsewhere) => 4,
            Self::Log(_) | Self::Output(_) => 5,
            Self::Sweep(error) => error.code(),
            Self::Net(_) => 70,
            Self::Agreed(failure) => failure.code,
        }
    }

    /// Whether every rank stops with this error by itself, so that only the root speaks of it.
    pub fn agreed(&self) -> bool {
        matches!(
            self,
            Self::Agreed(_)
                | Self::Diverged { .. }
                | Self::Launcher(_)
                | Self::Net(NetError::Worker(_) | NetError::Elsewhere | NetError::Apart { .. })
        )
    }

    /// The failure to tell other ranks.
    pub fn failure(&self) -> Failure {
        Failure { code: self.code(), message: self.to_string() }
    }
}
