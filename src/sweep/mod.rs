//! Sweeps: many runs from one file, each in a folder that is named by its config's hash.
//!
//! `file.rs` reads the sweep file, `plan.rs` makes its members, `record.rs` says which sweep a folder holds,
//! `folder.rs` how far a member is and `origin.rs` what made it, `standing.rs` tells those that are to be run
//! from those that are kept, `runner.rs` runs them as children (`child.rs`) and heeds `signals.rs`, `slurm.rs`
//! has them run by job arrays, `status.rs` and `collect.rs` say what came out.
//!
//! ```text
//! DIR/sweep.json      name and members: hash, settings, config      DIR/lock   held while it runs
//! DIR/HASH/           a member's run, with member.json, origin.json, stdout, stderr, failure.json, member.lock
//! DIR/collected.h5    a group for each finished member              DIR/summary.csv   a row for each
//! ```

mod child;
mod collect;
mod file;
mod folder;
mod lock;
mod origin;
mod plan;
mod record;
mod runner;
mod signals;
mod slurm;
mod standing;
mod status;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::config::{ConfigError, KeyError};
use crate::data::Folder;
use crate::log::LogError;
use crate::output::{self, OutputError};
use folder::{MemberFolder, State};
use lock::{Lock, Sharing};
use origin::Origin;
use runner::Runner;
use signals::Listener;
use standing::judged;

pub use file::SweepFile;
pub use plan::{Member, members};

/// Why a sweep cannot be planned, or did not come to its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SweepError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("sweep {}: key `{}`: {}", path.display(), error.key.escape_debug(), error.problem)]
    File { path: PathBuf, error: KeyError },
    #[error("member {settings}: {error}{advice}")]
    Member { settings: String, error: ConfigError, advice: &'static str },
    #[error("no member uses `{key}` of {place}; {problem}")]
    NobodyUses { key: String, place: &'static str, problem: String },
    #[error(
        "list and grid have {size} combinations, a sweep at most {most}; make it several sweeps"
    )]
    TooMany { size: usize, most: usize },
    #[error(
        "the members {} and {} have the hash {hash} in common; change one of them a little",
        words[0],
        words[1]
    )]
    Collision { hash: String, words: [String; 2] },
    #[error(
        "no member is called {given}; give its place, from 0, or its hash, as `status` lists them"
    )]
    NoMember { given: String },
    #[error("cannot start {program}: {source}; set `launcher` in the sweep file, [] for none")]
    Launcher { program: String, source: std::io::Error },
    #[error(
        "cannot start sbatch: {source}; written for it: {}: give that to sbatch where Slurm is",
        listed(scripts)
    )]
    NoSbatch { scripts: Vec<PathBuf>, source: std::io::Error },
    #[error("sbatch refused {}: {said}{}", listed(&scripts[..1]), rest(*before, &scripts[1..]))]
    Refused { scripts: Vec<PathBuf>, before: usize, said: String },
    #[error("{} is in use by {holder}; wait for it, or end it", folder.display())]
    Taken { folder: PathBuf, holder: String },
    #[error("{} holds the sweep {found:?}; give another --out", folder.display())]
    Other { folder: PathBuf, found: String },
    #[error("{} holds {what}; give another --out", folder.display())]
    NoSweep { folder: PathBuf, what: &'static str },
    #[error(
        "{} has members that finished and are no longer in the sweep file, {} among them, and the \
         table would lose them; run the file as it is now, if that is meant, or give another --out",
        folder.display(),
        hash.escape_debug()
    )]
    Lost { folder: PathBuf, hash: String },
    #[error("no member in {} is finished, and nothing was written", folder.display())]
    NothingFinished { folder: PathBuf },
    #[error("{} holds a run of another config; move or remove the folder", folder.display())]
    Foreign { folder: PathBuf },
    #[error("{}: {source}; check space and permissions", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{}: {source}: its file system has no file locks, by which a sweep knows which members run; \
         give an --out on another one, or have this one mounted with locks",
        path.display()
    )]
    NoLocks { path: PathBuf, source: std::io::Error },
    #[error("cannot hear signals: {source}")]
    Signals { source: std::io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}", failures(*failed, *diverged, *total))]
    Failed { failed: usize, diverged: usize, total: usize, code: u8 },
    #[error("stopped when {finished} of {total} members were finished; the same command goes on")]
    Stopped { finished: usize, total: usize },
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// What became of the job arrays before and after the one that was refused.
fn rest(before: usize, after: &[PathBuf]) -> String {
    let mut out = String::new();
    if before > 0 {
        out += &format!("; the {before} before it were taken");
    }
    if !after.is_empty() {
        out += &format!("; not submitted either: {}", listed(after));
    }
    out
}

fn failures(failed: usize, diverged: usize, total: usize) -> String {
    let failed =
        (failed, format!("{failed} of {total} members failed, which the next call tries again"));
    let diverged =
        (diverged, format!("{diverged} of {total} members diverged, which --redo runs again"));
    let parts = [failed, diverged].into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(_, words)| words).collect::<Vec<_>>().join("; ")
}

impl SweepError {
    /// Exit code: that of the first member that failed other than by divergence, 4 if all of them
    /// diverged, 75 for a sweep that was stopped.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed { code, .. } => *code,
            Self::Stopped { .. } => 75,
            Self::Refused { .. }
            | Self::Taken { .. }
            | Self::Other { .. }
            | Self::NoSweep { .. }
            | Self::Lost { .. }
            | Self::NothingFinished { .. }
            | Self::Foreign { .. }
            | Self::Io { .. }
            | Self::NoLocks { .. }
            | Self::Log(_)
            | Self::Output(_) => 5,
            Self::Signals { .. } => 70,
            _ => 2,
        }
    }
}

/// A planned sweep and the folder that it lives in.
pub struct Sweep {
    path: PathBuf,
    file: SweepFile,
    members: Vec<Member>,
    folder: PathBuf,
    data: Option<PathBuf>,
    /// What the runs of this call are made by.
    origin: Origin,
    redo: bool,
}

impl Sweep {
    /// Reads and plans a sweep; nothing is written. The folder is sweeps/NAME if none is given; `data` is
    /// handed to the runs. With `redo` members are run again that have diverged, or that were finished by
    /// another program or with another data folder.
    pub fn open(
        path: &Path,
        folder: Option<PathBuf>,
        data: Option<PathBuf>,
        redo: bool,
    ) -> Result<Self, SweepError> {
        let file = SweepFile::read(path)?;
        let members = members(&file)?;
        let folder = folder.unwrap_or_else(|| Path::new("sweeps").join(&file.name));
        let origin = Origin::here(&Folder::find(data.clone()))?;
        Ok(Self { path: path.to_owned(), file, members, folder, data, origin, redo })
    }

    /// Number of members.
    #[allow(clippy::len_without_is_empty)] // A sweep has at least one.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Runs every member that has not ended, `limit` at a time. Returns how many were finished before.
    pub fn run(&self, limit: usize) -> Result<usize, SweepError> {
        let _lock = self.claim()?;
        let listener = listener()?;
        let mut standing = self.standing()?;
        self.clear_sessions();
        standing.diverged.extend(Runner::new(self, standing.due, limit, listener).run()?);
        judged(&standing.diverged, self.members.len())?;
        Ok(standing.finished)
    }

    /// Runs one member, by its place or hash, if it has not ended: a task of a job array, which others
    /// may run beside.
    pub fn run_member(&self, given: &str) -> Result<(), SweepError> {
        let member = self.members.iter().find(|member| member.hash == given);
        let place = || self.members.get(given.parse::<usize>().ok()?);
        let member = member.or_else(place);
        let member = member.ok_or_else(|| SweepError::NoMember { given: given.to_owned() })?;
        let _lock = self.lock(Sharing::WithTasks, lock::LINGER)?;
        let listener = listener()?;
        let failures = match self.state(member)? {
            state if self.is_due(&MemberFolder::new(&self.folder, member), &state) => {
                Runner::new(self, vec![member], 1, listener).run()?
            }
            State::Diverged(failure) => vec![failure],
            _ => vec![],
        };
        judged(&failures, 1)
    }

    /// Takes away what an earlier call that was killed has left of members that were finished then; the
    /// others' goes when they run.
    fn clear_sessions(&self) {
        for member in &self.members {
            let folder = MemberFolder::new(&self.folder, member);
            if !Lock::is_held(&folder.lock()) {
                child::clear_session(folder.path());
            }
        }
    }

    /// Takes the folder and writes the plan to it.
    fn claim(&self) -> Result<Lock, SweepError> {
        let lock = self.lock(Sharing::Alone, Duration::ZERO)?;
        self.write_record()?;
        Ok(lock)
    }

    /// Takes the folder, which must be this sweep's, or nobody's.
    fn lock(&self, sharing: Sharing, patience: Duration) -> Result<Lock, SweepError> {
        // Before the lock, too: a run's lock has the same name, and is not to be written to.
        self.recorded()?;
        output::create_folder(&self.folder)?;
        let path = self.folder.join("lock");
        let lock = Lock::take(&path, sharing, patience)?.ok_or_else(|| SweepError::Taken {
            folder: self.folder.clone(),
            holder: Lock::holder(&path),
        })?;
        self.recorded()?;
        Ok(lock)
    }

    fn state(&self, member: &Member) -> Result<State, SweepError> {
        let folder = MemberFolder::new(&self.folder, member);
        folder.state(member).ours(&folder)
    }

    /// Each finished member with its folder and summary.
    fn finished(&self) -> Result<Vec<(&Member, MemberFolder, Value)>, SweepError> {
        let mut finished = vec![];
        for member in &self.members {
            if let State::Finished(summary) = self.state(member)? {
                finished.push((member, MemberFolder::new(&self.folder, member), summary));
            }
        }
        Ok(finished)
    }
}

fn listener() -> Result<Listener, SweepError> {
    Listener::new().map_err(|source| SweepError::Signals { source })
}

/// This program, for the children.
fn program() -> Result<PathBuf, SweepError> {
    std::env::current_exe()
        .map_err(|source| SweepError::Io { path: PathBuf::from("/proc/self/exe"), source })
}
