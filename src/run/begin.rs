//! What a run finds in its output folder, and what it makes of it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::{Options, Resume, agreed};
use crate::checkpoint::{self, CheckpointError, Checkpoints, Identity, Restored};
use crate::comm::{Comm, Messages};
use crate::config::{Plan, state_config};
use crate::error::Error;
use crate::log::{self, Log, LogError, Position, Status};
use crate::output::{Claim, Lock, OutputError, SWEEP_RECORD};

/// A run's hold on its output folder.
pub struct Begun {
    pub checkpoints: Checkpoints,
    /// Where the run goes on; `None` at its start.
    pub restored: Option<Restored>,
    /// At the root.
    pub root: Option<Root>,
}

/// What the root alone has of it.
pub struct Root {
    pub lock: Lock,
    pub log: Log,
    /// Seconds that the parts before this one took.
    pub before: f64,
    /// Remarks for the user.
    pub notices: Vec<String>,
}

/// What the folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A run of this plan that is not at its end.
    Part,
    /// A completed run of this plan.
    Complete,
}

/// Takes the folder and begins or resumes; `None` if the run is complete already. Every rank calls this.
pub fn begin(
    comm: &mut dyn Comm,
    plan: &Plan,
    identity: Identity,
    folder: &Path,
    options: &Options,
) -> Result<Option<Begun>, Error> {
    let taken = match comm.is_root() {
        true => take(plan, folder, options.resume).map(Some),
        false => Ok(None),
    };
    let taken = agreed(comm, taken)?;
    let nonce = taken.as_ref().map_or(0, |(lock, ..)| lock.claim().nonce());
    let found = taken.as_ref().map_or(Found::Nothing, |&(.., found)| found);
    let mut message = [&nonce.to_le_bytes()[..], &[found as u8]].concat();
    comm.broadcast(&mut message)?;
    let nonce = message.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes));
    let is = |found: Found| message.last() == Some(&(found as u8));
    if is(Found::Complete) {
        return Ok(None);
    }
    let claim = Claim::new(folder, nonce);
    let checkpoints = Checkpoints::new(comm, claim, &options.node, identity)?;
    let mixed = mixed_processors(comm)?;
    let restored = match is(Found::Part) {
        true => checkpoints.restore(comm, &|log| check_log(folder, log))?,
        false => None,
    };
    let root = taken.map(|(lock, mut notices, _)| {
        let ranks = comm.ranks();
        let resume = options.resume;
        let (log, before) = open_log(&lock, plan, ranks, restored.as_ref(), resume, &mut notices)?;
        notices.extend(mixed);
        Ok(Root { lock, log, before, notices })
    });
    let root = agreed(comm, root.transpose())?;
    Ok(Some(Begun { checkpoints, restored, root }))
}

/// What the user is to know if the ranks' processors get different matrix products; at the root.
fn mixed_processors(comm: &mut dyn Comm) -> Result<Option<String>, Error> {
    let mut names = Messages::default();
    comm.gather(crate::system::product_kernels().as_bytes(), &mut names)?;
    Ok(if comm.is_root() { words_of_mix(names.messages()) } else { None })
}

fn words_of_mix<'n>(names: impl Iterator<Item = &'n [u8]>) -> Option<String> {
    let mut names = names.map(String::from_utf8_lossy);
    let first = names.next()?;
    let (rank, other) = names.enumerate().find(|(_, name)| *name != first)?;
    Some(format!(
        "rank {} multiplies matrices by {other}, rank 0 by {first}: the last bits of this run depend on which \
         rank hosts a worker; start all ranks on one kind of processor if they matter",
        rank + 1
    ))
}

fn take(plan: &Plan, folder: &Path, resume: Resume) -> Result<(Lock, Vec<String>, Found), Error> {
    // Before the lock: a sweep's would be taken for that of a dead run.
    if json(folder, SWEEP_RECORD)?.is_some_and(|record| record["members"].is_array()) {
        return Err(OutputError::Sweep { folder: folder.to_owned() }.into());
    }
    let (lock, notice) = Lock::take(folder)?;
    let found = look(plan, folder, resume)?;
    Ok((lock, notice.into_iter().collect(), found))
}

/// Looks at the folder; refuses what does not fit.
fn look(plan: &Plan, folder: &Path, resume: Resume) -> Result<Found, Error> {
    let has_sets = checkpoint::newest(folder)?.is_some();
    if !has_sets && !log::exists(folder) {
        return match resume {
            Resume::Must => Err(Error::NoCheckpoint { folder: folder.to_owned() }),
            _ => Ok(Found::Nothing),
        };
    }
    if resume == Resume::Never {
        return Err(LogError::Exists(folder.to_owned()).into());
    }
    let theirs = json(folder, "config.json")?.map(|config| state_config(&config));
    if theirs != Some(plan.state_config()) && !has_sets {
        return Err(LogError::Exists(folder.to_owned()).into());
    }
    if let Some(theirs) = theirs {
        checkpoint::same_config(&folder.display().to_string(), &theirs, &plan.state_config())?;
    }
    let summary = json(folder, "summary.json")?.unwrap_or_default();
    if summary["status"] != Status::Completed.name() {
        return Ok(Found::Part);
    }
    let done = summary["iterations"].as_u64().unwrap_or(0);
    match done.cmp(&plan.iterations) {
        std::cmp::Ordering::Equal => Ok(Found::Complete),
        std::cmp::Ordering::Greater => Err(Error::Further { done, asked: plan.iterations }),
        std::cmp::Ordering::Less if has_sets => Ok(Found::Part),
        std::cmp::Ordering::Less => Err(Error::NoCheckpoint { folder: folder.to_owned() }),
    }
}

/// A file of the folder; `None` if there is none, or if it is not JSON.
fn json(folder: &Path, name: &str) -> Result<Option<Value>, OutputError> {
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // A run that is complete must not be taken for one that is not.
        Err(source) => Err(OutputError::Read { path, source }),
    }
}

fn check_log(folder: &Path, position: &Value) -> Result<(), String> {
    let position =
        serde_json::from_value::<Position>(position.clone()).map_err(|e| e.to_string())?;
    log::verify(folder, &position).map_err(|error| error.to_string())
}

fn open_log(
    lock: &Lock,
    plan: &Plan,
    ranks: usize,
    restored: Option<&Restored>,
    resume: Resume,
    notices: &mut Vec<String>,
) -> Result<(Log, f64), Error> {
    let claim = lock.claim();
    let Some(restored) = restored else {
        if log::exists(claim.folder()) {
            if resume == Resume::Must {
                return Err(Error::NoCheckpoint { folder: claim.folder().to_owned() });
            }
            notices.push(
                "the run before this one left no checkpoint: this one begins at the start".into(),
            );
            log::discard(claim.folder())?;
        }
        return Ok((Log::create(claim, plan, ranks)?, 0.0));
    };
    let Restored { iteration, log, .. } = restored;
    if *iteration > plan.iterations {
        return Err(Error::Further { done: *iteration, asked: plan.iterations });
    }
    notices.extend(restored.notices.iter().cloned());
    notices.push(format!("resumed at iteration {iteration} of {}", plan.iterations));
    let position = serde_json::from_value(log.clone());
    let position: Position =
        position.map_err(|error| CheckpointError::Message(error.to_string()))?;
    Ok((Log::resume(claim, plan, ranks, &position)?, position.wall_time))
}

#[cfg(test)]
mod tests {
    use super::words_of_mix;

    #[test]
    fn the_first_rank_with_other_products_is_named() {
        let words = |names: &[&'static str]| words_of_mix(names.iter().map(|name| name.as_bytes()));
        assert_eq!(words(&["A", "A", "A"]), None);
        let said = words(&["A", "A", "B", "C"]).expect("a note");
        assert!(said.contains("rank 2") && said.contains("by B, rank 0 by A"), "{said}");
    }
}
