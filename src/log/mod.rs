//! What is kept of a run: journal, HDF5 log, progress, summary. Only the server (rank 0) logs.
//!
//! While the run goes on, rows are appended to `log.journal`; `log.h5` is built from the journal in
//! memory and replaces the old one by a rename, so that it is complete at any time.

mod collect;
mod files;
mod hdf5;
mod journal;
mod progress;
mod scales;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Plan;
use crate::evaluate::Evaluation;
use crate::net::{PHASES, RankReport};

pub use self::hdf5::Header;
pub use collect::collect;
pub use files::{create_folder, discard, replace};
pub use journal::{Record, Row};
pub use progress::Progress;
pub use table::{Summary, bytes, table};

/// A file of the output folder could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LogError {
    #[error(
        "output folder {0} already holds a run; give another --out, or move or remove the folder"
    )]
    Exists(PathBuf),
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

/// Least time between two builds of `log.h5`, and least ratio of it to the time that a build takes.
const PAUSE: Duration = Duration::from_secs(2);
const BUILD_SHARE: u32 = 50;

/// The log of one run.
pub struct Log {
    folder: PathBuf,
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
    /// Claims the output folder and writes config.json and an empty log. A folder that could not
    /// be filled is left without a claim.
    pub fn create(folder: &Path, plan: &Plan, ranks: usize) -> Result<Self, LogError> {
        files::create_folder(folder)?;
        let config = serde_json::to_string_pretty(&plan.resolved).unwrap_or_default() + "\n";
        files::claim(folder, "config.json", config.as_bytes())?;
        Self::open(folder, plan, ranks).inspect_err(|_| {
            for name in ["log.journal", "config.json"] {
                let _ = std::fs::remove_file(folder.join(name));
            }
        })
    }

    fn open(folder: &Path, plan: &Plan, ranks: usize) -> Result<Self, LogError> {
        let mut log = Self {
            folder: folder.to_owned(),
            journal: journal::Journal::create(&folder.join("log.journal"))?,
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
        files::replace(&self.folder.join("summary.json"), text.as_bytes())
    }

    fn build(&mut self, status: Status, reason: &str) -> Result<(), LogError> {
        let start = Instant::now();
        self.journal.flush()?;
        let path = self.folder.join("log.h5");
        let records = journal::read(&self.folder.join("log.journal"))?;
        let image = self::hdf5::image(&self.header, records, status, reason)
            .map_err(|source| LogError::Hdf5 { path: path.clone(), source })?;
        files::replace(&path, &image)?;
        self.build_time = start.elapsed();
        self.built_at = Instant::now();
        Ok(())
    }
}
