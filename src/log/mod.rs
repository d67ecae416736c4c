//! What is kept of a run: journal, HDF5 log, progress, summary. Only the server (rank 0) logs.
//!
//! While the run goes on, rows are appended to `log.journal`; `log.h5` is built from the journal in
//! memory and replaces the old one by a rename, so that it is complete at any time.

mod collect;
mod hdf5;
mod journal;
mod progress;
mod scales;
mod table;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Plan;
use crate::evaluate::Evaluation;
use crate::net::{PHASES, RankReport};
use crate::output::{Claim, OutputError};

pub use self::hdf5::Header;
pub use collect::collect;
pub use journal::{Record, Row};
pub use progress::Progress;
pub use table::{Summary, bytes, table};

/// The log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LogError {
    #[error(
        "output folder {0} already holds a run; give another --out, or move or remove the folder"
    )]
    Exists(PathBuf),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("cannot write {}: {source}; check space and permissions", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read back {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot build {}: {source}", path.display())]
    Hdf5 { path: PathBuf, source: ::hdf5::Error },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Running,
    Completed,
    Failed,
}

impl Status {
    /// Value of the attribute `status`.
    pub fn name(self) -> &'static str {
        ["running", "completed", "failed"][self as usize]
    }
}

/// What a run writes besides its checkpoints; the summary is last: see [`discard`].
const FILES: [&str; 4] = ["config.json", "log.journal", "log.h5", "summary.json"];

/// Takes a run that did not complete out of its folder; other files stay. The summary goes first: what
/// is left then never looks like a run that has ended.
pub fn discard(folder: &Path) -> Result<(), LogError> {
    for name in FILES.iter().rev() {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => (),
            removed => removed.map_err(|source| LogError::Write { path, source })?,
        }
    }
    Ok(())
}

/// Least time between two builds of `log.h5`, and least ratio of it to the time that a build takes.
const PAUSE: Duration = Duration::from_secs(2);
const BUILD_SHARE: u32 = 50;

/// The log of one run.
pub struct Log {
    claim: Claim,
    header: Header,
    journal: journal::Journal,
    built_at: Instant,
    build_time: Duration,
    every: u64,
    timing_every: u64,
    last: u64,
    /// A row whose ranks have not reported yet: reports come with the next message.
    pending: Option<Row>,
}

impl Log {
    /// Writes config.json and an empty log to a folder that holds no run. What could not be filled is
    /// left as it was.
    pub fn create(claim: &Claim, plan: &Plan, ranks: usize) -> Result<Self, LogError> {
        let folder = claim.folder();
        if FILES.iter().any(|name| folder.join(name).exists()) {
            return Err(LogError::Exists(folder.to_owned()));
        }
        let config = serde_json::to_string_pretty(&plan.resolved).unwrap_or_default() + "\n";
        let log = claim.replace("config.json", config.as_bytes()).map_err(LogError::from);
        log.and_then(|()| Self::open(claim, plan, ranks)).inspect_err(|_| {
            if claim.check().is_ok() {
                let _ = discard(folder);
            }
        })
    }

    fn open(claim: &Claim, plan: &Plan, ranks: usize) -> Result<Self, LogError> {
        let mut log = Self {
            claim: claim.clone(),
            journal: journal::Journal::create(&claim.folder().join("log.journal"))?,
            header: Header::new(plan, ranks),
            built_at: Instant::now(),
            build_time: Duration::ZERO,
            every: plan.log.every.get() as u64,
            timing_every: plan.log.timing_every.get() as u64,
            last: plan.iterations,
            pending: None,
        };
        log.build(Status::Running, "")?;
        Ok(log)
    }

    /// Takes the row of an iteration, if one is due. It is written when its ranks have reported.
    pub fn row(&mut self, row: Row) {
        if row.iteration.is_multiple_of(self.every) || row.iteration == self.last {
            self.pending = Some(row);
        }
    }

    /// The ranks' reports about the step that led to the last row.
    pub fn reports(&mut self, reports: &[RankReport]) -> Result<(), LogError> {
        let Some(mut row) = self.pending.take() else { return Ok(()) };
        row.ranks = reports.to_vec();
        if !row.iteration.is_multiple_of(self.timing_every) {
            row.ranks.iter_mut().for_each(|r| r.seconds = [f32::NAN; PHASES]);
        }
        self.journal.append(&Record::Row(row))?;
        if self.built_at.elapsed() > PAUSE.max(BUILD_SHARE * self.build_time) {
            self.build(Status::Running, "")?;
        }
        Ok(())
    }

    /// Writes an evaluation.
    pub fn evaluation(&mut self, iteration: u64, evaluation: Evaluation) -> Result<(), LogError> {
        self.journal.append(&Record::Evaluation(iteration, evaluation))?;
        self.journal.flush()
    }

    /// Builds the final log and writes summary.json.
    pub fn finish(mut self, status: Status, reason: &str, summary: &Value) -> Result<(), LogError> {
        if let Some(mut row) = self.pending.take() {
            // A run that failed between a row and its reports.
            row.ranks = vec![RankReport::default(); self.header.ranks];
            row.ranks.iter_mut().for_each(|r| r.seconds = [f32::NAN; PHASES]);
            self.journal.append(&Record::Row(row))?;
        }
        self.build(status, reason)?;
        let mut summary = summary.clone();
        summary["status"] = json!(status.name());
        let text = serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n";
        Ok(self.claim.replace("summary.json", text.as_bytes())?)
    }

    fn build(&mut self, status: Status, reason: &str) -> Result<(), LogError> {
        let start = Instant::now();
        self.journal.flush()?;
        let path = self.claim.folder().join("log.h5");
        let records = journal::read(&self.claim.folder().join("log.journal"))?;
        let image = self::hdf5::image(&self.header, records, status, reason)
            .map_err(|source| LogError::Hdf5 { path: path.clone(), source })?;
        self.claim.replace("log.h5", &image)?;
        self.build_time = start.elapsed();
        self.built_at = Instant::now();
        Ok(())
    }
}
