//! A run: begun or resumed (`begin.rs`), stepped and observed (`part.rs`), saved when the root's schedule
//! (`schedule.rs`), a signal (`signals.rs`) or a limit says so, and ended if it is stuck (`watchdog.rs`).

mod begin;
pub mod build;
pub mod memory;
mod observer;
mod part;
mod schedule;
pub mod signals;
mod watchdog;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::comm::{Comm, agree};
use crate::config::{Plan, Precision};
use crate::data::Folder;
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::net::{NetError, StopReason, Traffic};

use part::Part;

/// What a finished run leaves in memory; at the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// 64-bit hash of (x, y, z) as stored, in that order.
    pub state_hash: u64,
    /// What travelled.
    pub traffic: Traffic,
    /// Every evaluation of this part of the run, with its iteration.
    pub evaluations: Vec<(u64, Evaluation)>,
}

/// What to do with a run that the output folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Resume it if it is of the same config; begin where there is none.
    #[default]
    Auto,
    /// Leave it alone: the folder must hold none.
    Never,
    /// Resume it: there must be a checkpoint.
    Must,
}

/// How a run is made, besides its plan.
pub struct Options {
    /// Where it is logged and saved; nowhere if absent.
    pub output: Option<PathBuf>,
    /// What to do with a run that is there.
    pub resume: Resume,
    /// Stops, with a checkpoint, before `now` gets there.
    pub max_time: Option<Duration>,
    /// Time since the program began.
    pub now: Box<dyn Fn() -> Duration>,
    /// Whether this rank was asked to stop, and by what.
    pub asked_to_stop: Box<dyn Fn() -> Option<StopReason>>,
    /// Name of this rank's node.
    pub node: String,
}

impl Options {
    /// A run into this folder, or into memory, that nobody stops.
    pub fn new(output: Option<PathBuf>) -> Self {
        let start = Instant::now();
        Self {
            output,
            resume: Resume::default(),
            max_time: None,
            now: Box::new(move || start.elapsed()),
            asked_to_stop: Box::new(|| None),
            node: crate::system::host(),
        }
    }
}

/// Runs a plan on the ranks of `comm`. Every rank calls this with the same plan and, but for what it is asked,
/// the same options; the server returns the outcome, unless the run was complete before.
pub fn run(
    plan: &Plan,
    comm: &mut dyn Comm,
    folder: &Folder,
    options: &Options,
) -> Result<Option<Outcome>, Error> {
    crate::system::use_one_blas_thread();
    let part = match plan.precision {
        Precision::F32 => Part::<f32>::start(plan, comm, folder, options)?.map(Part::finish),
        Precision::F64 => Part::<f64>::start(plan, comm, folder, options)?.map(Part::finish),
    };
    part.unwrap_or(Ok(None))
}

/// A result that fails on all ranks if it fails on one, with the error of the lowest such rank.
pub fn agreed<T>(comm: &mut dyn Comm, mine: Result<T, Error>) -> Result<T, Error> {
    let (value, told) = match mine {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error.failure())),
    };
    match (agree(comm, told)?, value) {
        (Ok(()), Some(value)) => Ok(value),
        (Err(failure), _) => Err(Error::Agreed(failure)),
        (Ok(()), None) => Err(NetError::Elsewhere.into()),
    }
}
