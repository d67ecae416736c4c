//! What is kept of a run: journal, HDF5 log, progress, summary. Only the server (rank 0) logs.
//!
//! While the run goes on, rows are appended to `log.journal`; `log.h5` is built from the journal in
//! memory and replaces the old one by a rename, so that it is complete at any time. A run that goes on
//! cuts the journal back to the [`Position`] of its checkpoint and begins a new part.

mod collect;
mod diff;
mod hdf5;
mod journal;
mod progress;
mod recover;
mod scales;
mod size;
mod table;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Plan;
use crate::evaluate::Evaluation;
use crate::net::{LinkBytes, PHASES, RankReport};
use crate::output::{Claim, OutputError};

pub use collect::collect;
pub use diff::differences;
pub use journal::Row;
pub use journal::{JOURNAL, Journal, Part, Record, Records};
pub use progress::Progress;
pub use recover::{Recovered, recover};
pub use size::Size;
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
    #[error("cannot build {}: {source}", path.display())]
    Hdf5 { path: PathBuf, source: ::hdf5::Error },
    #[error(
        "cannot read the log {}: {source}; give a run's folder or its {LOG}; sobaya log recover builds \
         a run's log again",
        path.display()
    )]
    Unreadable { path: PathBuf, source: ::hdf5::Error },
    #[error("{}, byte {at}: {problem}", path.display())]
    Damaged { path: PathBuf, at: u64, problem: String },
    #[error("{} is not a run's config: {problem}; without it the log cannot be built", path.display())]
    Config { path: PathBuf, problem: String },
    /// An error of this program.
    #[error("the log's position was asked for before the ranks' reports of iteration {iteration}")]
    Unreported { iteration: u64 },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Running,
    Completed,
    /// With a checkpoint: it can be resumed.
    Stopped,
    Failed,
}

impl Status {
    /// Value of the attribute `status`.
    pub fn name(self) -> &'static str {
        ["running", "completed", "stopped", "failed"][self as usize]
    }
}

/// What a run writes besides its checkpoints; the summary is last: see [`discard`].
const FILES: [&str; 4] = [CONFIG, JOURNAL, LOG, SUMMARY];
const CONFIG: &str = "config.json";
const LOG: &str = "log.h5";
const SUMMARY: &str = "summary.json";

/// Whether a folder holds a run, or what is left of one.
pub fn exists(folder: &Path) -> bool {
    FILES.iter().any(|name| folder.join(name).exists())
}

/// Takes a run that did not complete out of its folder; other files stay. The summary goes first: what
/// is left then never looks like a run that has ended.
pub fn discard(folder: &Path) -> Result<(), LogError> {
    FILES.iter().rev().try_for_each(|name| remove(&folder.join(name)))
}

fn remove(path: &Path) -> Result<(), LogError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.map_err(|source| OutputError::Write { path: path.into(), source })?),
    }
}

/// Least time between two builds of `log.h5`, and least ratio of it to the time that a build takes.
const PAUSE: Duration = Duration::from_secs(2);
const BUILD_SHARE: u32 = 50;

/// How far a log was written when the run's state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Length of the journal.
    pub bytes: u64,
    /// The part that wrote it.
    pub part: u32,
    /// Seconds since the start of the first iteration, all parts together.
    pub wall_time: f64,
}

/// Whether a folder's journal can be continued at a position: up to there its records are whole, and the
/// last part is the one that the position is of.
pub fn verify(folder: &Path, position: &Position) -> Result<(), LogError> {
    let mut records = Records::read(folder)?;
    let damaged = |at, problem| Err(LogError::Damaged { path: folder.join(JOURNAL), at, problem });
    let mut part = None;
    while records.end() < position.bytes {
        match records.next() {
            Some(Record::Part(begun)) => part = Some(begun.part),
            Some(_) => (),
            None => return damaged(records.end(), "the record there is damaged or missing".into()),
        }
    }
    if records.end() != position.bytes {
        return damaged(position.bytes, "it is inside a record".into());
    }
    match part {
        Some(part) if part == position.part => Ok(()),
        _ => damaged(position.bytes, format!("it was not written by part {}", position.part)),
    }
}

/// The log of one run.
pub struct Log {
    claim: Claim,
    header: hdf5::Header,
    journal: Journal,
    part: u32,
    ranks: usize,
    /// When this part began, and the seconds of those before it.
    begun: Instant,
    before: f64,
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
        if exists(folder) {
            return Err(LogError::Exists(folder.to_owned()));
        }
        let start = Position { bytes: 0, part: 0, wall_time: 0.0 };
        Self::open(claim, plan, ranks, start).inspect_err(|_| {
            if claim.check().is_ok() {
                let _ = discard(folder);
            }
        })
    }

    /// Goes on from a position: what was written behind it is taken back, and a new part begins. The wall
    /// time of its rows goes on from there, too.
    pub fn resume(
        claim: &Claim,
        plan: &Plan,
        ranks: usize,
        position: &Position,
    ) -> Result<Self, LogError> {
        verify(claim.folder(), position)?;
        // The run has not ended after all.
        remove(&claim.folder().join(SUMMARY))?;
        Self::open(claim, plan, ranks, Position { part: position.part + 1, ..*position })
    }

    /// Begins a part at a position.
    fn open(claim: &Claim, plan: &Plan, ranks: usize, start: Position) -> Result<Self, LogError> {
        let config = serde_json::to_string_pretty(&plan.resolved).unwrap_or_default() + "\n";
        claim.replace(CONFIG, config.as_bytes())?;
        let mut log = Self {
            claim: claim.clone(),
            journal: Journal::cut(claim, start.bytes)?,
            header: hdf5::Header::new(plan),
            part: start.part,
            ranks,
            begun: Instant::now(),
            before: start.wall_time,
            built_at: Instant::now(),
            build_time: Duration::ZERO,
            every: plan.log.every.get() as u64,
            timing_every: plan.log.timing_every.get() as u64,
            last: plan.iterations,
            pending: None,
        };
        let provenance = crate::system::provenance(ranks).to_string();
        let part = Record::Part(Part { part: log.part, ranks: ranks as u32, provenance });
        // A journal that is not empty has a log beside it.
        let records = Records::read(claim.folder())?.chain([part.clone()]);
        build(claim, &log.header, records, Status::Running, "")?;
        log.journal.append(&part)?;
        log.journal.flush()?;
        Ok(log)
    }

    /// How far the log is. All of it is durable then.
    pub fn position(&mut self) -> Result<Position, LogError> {
        if let Some(Row { iteration, .. }) = self.pending {
            return Err(LogError::Unreported { iteration });
        }
        let wall_time = self.before + self.begun.elapsed().as_secs_f64();
        Ok(Position { bytes: self.journal.sync()?, part: self.part, wall_time })
    }

    /// Takes the row of an iteration, if one is due. It is written when its ranks have reported, and its
    /// wall time goes on from that of the parts before this one.
    pub fn row(&mut self, mut row: Row) {
        row.wall_time += self.before;
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

    /// Notes what each link has carried so far; of no links if there is a server.
    pub fn links(&mut self, links: &[LinkBytes]) -> Result<(), LogError> {
        let mut records = links.chunks(journal::MAX_LINKS).map(|some| Record::Links(some.to_vec()));
        records.try_for_each(|record| self.journal.append(&record))
    }

    /// Builds the final log and writes summary.json, with the reason if the run did not complete.
    pub fn finish(mut self, status: Status, reason: &str, summary: &Value) -> Result<(), LogError> {
        if let Some(mut row) = self.pending.take() {
            // A run that failed between a row and its reports: -1 in the log says that a count is not known.
            let unknown = u64::MAX;
            let (wire_bytes_up, wire_bytes_down) = (unknown, unknown);
            let report = RankReport { wire_bytes_up, wire_bytes_down, seconds: [f32::NAN; PHASES] };
            row.ranks = vec![report; self.ranks];
            self.journal.append(&Record::Row(row))?;
        }
        self.build(status, reason)?;
        let mut summary = summary.clone();
        summary["status"] = json!(status.name());
        if !reason.is_empty() {
            summary["stop_reason"] = json!(reason);
        }
        let text = serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n";
        Ok(self.claim.replace(SUMMARY, text.as_bytes())?)
    }

    fn build(&mut self, status: Status, reason: &str) -> Result<(), LogError> {
        let start = Instant::now();
        self.journal.flush()?;
        build(&self.claim, &self.header, Records::read(self.claim.folder())?, status, reason)?;
        self.build_time = start.elapsed();
        self.built_at = Instant::now();
        Ok(())
    }
}

/// Builds log.h5 from the records and replaces it.
fn build(
    claim: &Claim,
    header: &hdf5::Header,
    records: impl Iterator<Item = Record>,
    status: Status,
    reason: &str,
) -> Result<(), LogError> {
    let image = hdf5::image(header, records, status, reason)
        .map_err(|source| LogError::Hdf5 { path: claim.folder().join(LOG), source })?;
    Ok(claim.replace(LOG, &image)?)
}
