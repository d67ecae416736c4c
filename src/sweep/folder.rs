//! A member's folder: the run's own files, `member.json` (its config), `origin.json` (the program that runs
//! it), `stdout`, `stderr`, `failure.json` if its last attempt failed, and `member.lock`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::lock::Lock;
use super::origin::Origin;
use super::{Member, SweepError};
use crate::checkpoint;
use crate::config::outcome_config;
use crate::log;
use crate::output;
use crate::system::say;

/// Lines of a failed run's stderr that are kept.
const LAST_LINES: usize = 5;

/// How far a member is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its run is completed; summary.json.
    Finished(Value),
    /// Its iterates left the finite numbers, as they would again.
    Diverged(Failure),
    /// Its last attempt failed otherwise.
    Failed(Failure),
    /// A process runs it.
    Running,
    /// It goes on from the checkpoint of this iteration.
    Stopped(u64),
    /// It was not started, or ended before its first checkpoint.
    Waiting,
    /// The folder holds a completed run of another config.
    Foreign,
}

impl State {
    /// This state of a folder, which is refused if it holds a run of another config.
    pub fn ours(self, folder: &MemberFolder) -> Result<Self, SweepError> {
        match self {
            Self::Foreign => Err(SweepError::Foreign { folder: folder.path().to_owned() }),
            state => Ok(state),
        }
    }
}

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// The program's messages on stderr, or else the last lines there.
    pub said: String,
}

impl Failure {
    /// Exit code of a run whose numbers went wrong. As runs are deterministic, another one ends alike.
    pub const DIVERGED: u8 = 4;

    /// Whether it is the run's outcome rather than a mishap.
    pub fn is_divergence(&self) -> bool {
        self.code == Self::DIVERGED
    }
}

impl From<&SweepError> for Failure {
    fn from(error: &SweepError) -> Self {
        Self { code: error.code(), said: error.to_string() }
    }
}

/// A member's folder.
pub struct MemberFolder(PathBuf);

impl MemberFolder {
    /// The folder of a member of the sweep in `sweep`.
    pub fn new(sweep: &Path, member: &Member) -> Self {
        Self::named(sweep, &member.hash)
    }

    /// The folder of the member with this hash.
    pub fn named(sweep: &Path, hash: &str) -> Self {
        Self(sweep.join(hash))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file that is locked while the member runs.
    pub fn lock(&self) -> PathBuf {
        self.0.join("member.lock")
    }

    /// The log of a finished member.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.h5")
    }

    /// How far the member is.
    pub fn state(&self, member: &Member) -> State {
        match self.completed().is_none() && Lock::is_held(&self.lock()) {
            true => State::Running,
            false => self.state_at_rest(member),
        }
    }

    /// The same for the holder of the member's lock, which runs nothing yet: the system does not say by whom a
    /// lock is held.
    pub fn state_at_rest(&self, member: &Member) -> State {
        if let Some(summary) = self.completed() {
            return match self.is_of("config.json", member) {
                true => State::Finished(summary),
                false => State::Foreign,
            };
        }
        match self.kept_failure() {
            None => self.checkpoint().map_or(State::Waiting, State::Stopped),
            Some(failure) if failure.is_divergence() && self.is_of("member.json", member) => {
                State::Diverged(failure)
            }
            Some(failure) => State::Failed(failure),
        }
    }

    /// The summary of a completed run.
    pub fn completed(&self) -> Option<Value> {
        let summary = self.json("summary.json")?;
        (summary["status"] == log::Status::Completed.name()).then_some(summary)
    }

    /// The iteration of its newest checkpoint.
    pub fn checkpoint(&self) -> Option<u64> {
        // Of a folder that cannot be read the run itself will speak.
        checkpoint::newest(&self.0).ok().flatten()
    }

    fn kept_failure(&self) -> Option<Failure> {
        let failure = self.json("failure.json")?;
        let code = failure["code"].as_u64().and_then(|code| u8::try_from(code).ok())?;
        Some(Failure { code, said: failure["stderr"].as_str()?.to_owned() })
    }

    /// Whether a config in the folder has the results of this member.
    fn is_of(&self, config: &str, member: &Member) -> bool {
        let ours = outcome_config(&member.plan.resolved);
        self.json(config).is_some_and(|found| outcome_config(&found) == ours)
    }

    /// The program and data folder of the last attempt; `None` if they are not known.
    pub fn origin(&self) -> Option<Origin> {
        serde_json::from_value(self.json("origin.json")?).ok()
    }

    /// Takes out what an earlier attempt has left, unless a run that no sweep has started is at it.
    pub fn clear(&self) -> Result<(), SweepError> {
        if !log::exists(&self.0) && self.checkpoint().is_none() {
            return Ok(());
        }
        let (_lock, notice) = output::Lock::take(&self.0)?;
        if let Some(notice) = notice {
            say(&format!("sobaya: note: {notice}"));
        }
        checkpoint::discard(&self.0)?;
        Ok(log::discard(&self.0)?)
    }

    /// Makes the folder ready for a run: writes the config, whose path is returned, and who runs it.
    pub fn prepare(&self, member: &Member, origin: &Origin) -> Result<PathBuf, SweepError> {
        let failure = self.0.join("failure.json");
        if failure.exists() {
            fs::remove_file(&failure).map_err(|source| SweepError::Io { path: failure, source })?;
        }
        output::replace(&self.0.join("origin.json"), format!("{:#}\n", json!(origin)).as_bytes())?;
        let config = self.0.join("member.json");
        output::replace(&config, format!("{:#}\n", member.plan.resolved).as_bytes())?;
        Ok(config)
    }

    /// What is known of an attempt that ended with this code, but not with a completed run.
    pub fn failure(&self, code: i32) -> Failure {
        let stderr = fs::read(self.stderr()).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr);
        let said = what_was_said(&stderr).join("\n");
        // A launcher that ends well without a run has not done what it was to do.
        let code = u8::try_from(code).ok().filter(|&code| code != 0).unwrap_or(70);
        Failure { code, said }
    }

    /// Keeps it for later calls.
    pub fn keep(&self, failure: &Failure) -> Result<(), SweepError> {
        let json = json!({ "code": failure.code, "stderr": failure.said });
        Ok(output::replace(&self.0.join("failure.json"), format!("{json:#}\n").as_bytes())?)
    }

    /// Where its stderr goes.
    pub fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    fn json(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }
}

/// The program's own messages, which a launcher follows by many lines of its own; without any, the last
/// lines.
fn what_was_said(stderr: &str) -> Vec<&str> {
    let is_message =
        |line: &&str| line.starts_with("sobaya: ") && !line.starts_with("sobaya: note: ");
    let messages: Vec<&str> = stderr.lines().filter(is_message).take(LAST_LINES).collect();
    if !messages.is_empty() {
        return messages;
    }
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_among_a_launchers_lines() {
        let stderr = "sobaya: note: a\nsobaya: it diverges\n-----\nmpirun says\n  much\n";
        assert_eq!(what_was_said(stderr), ["sobaya: it diverges"]);
        assert_eq!(what_was_said("1\n2\n\n3\n4\n5\n6\n"), ["2", "3", "4", "5", "6"]);
        assert!(what_was_said("").is_empty());
    }
}
