//! A member's folder: the run's own files, `member.json` (its config), `stdout`, `stderr`,
//! `failure.json` if its last attempt failed, and `member.lock`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::lock::Lock;
use super::{Member, SweepError};
use crate::log;

/// Lines of a failed run's stderr that are kept.
const LAST_LINES: usize = 5;

/// How far a member is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its run is completed; summary.json.
    Finished(Value),
    /// Its last attempt failed.
    Failed(Failure),
    /// A process runs it.
    Running,
    /// It was not started, or not to its end.
    Waiting,
    /// The folder holds a completed run of another config.
    Foreign,
}

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// The program's messages on stderr, or else the last lines there.
    pub said: String,
}

/// A member's folder.
pub struct MemberFolder(PathBuf);

impl MemberFolder {
    /// The folder of a member of the sweep in `sweep`.
    pub fn new(sweep: &Path, member: &Member) -> Self {
        Self(sweep.join(&member.hash))
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
        if let Some(summary) = self.json("summary.json")
            && summary["status"] == log::Status::Completed.name()
        {
            let ours = self.json("config.json").as_ref() == Some(&member.plan.resolved);
            return if ours { State::Finished(summary) } else { State::Foreign };
        }
        if Lock::is_held(&self.lock()) {
            return State::Running;
        }
        let failure = self.json("failure.json").and_then(|failure| {
            let code = failure["code"].as_u64().and_then(|code| u8::try_from(code).ok())?;
            Some(Failure { code, said: failure["stderr"].as_str()?.to_owned() })
        });
        failure.map_or(State::Waiting, State::Failed)
    }

    /// Makes the folder ready for a run: takes out what an earlier attempt has left and writes the
    /// config; its path.
    pub fn prepare(&self, member: &Member) -> Result<PathBuf, SweepError> {
        log::discard(&self.0)?;
        let failure = self.0.join("failure.json");
        if failure.exists() {
            fs::remove_file(&failure).map_err(|source| SweepError::Io { path: failure, source })?;
        }
        let config = self.0.join("member.json");
        log::replace(&config, format!("{:#}\n", member.plan.resolved).as_bytes())?;
        Ok(config)
    }

    /// Keeps what is known of an attempt that ended with this code, but not with a completed run.
    pub fn fail(&self, code: i32) -> Result<Failure, SweepError> {
        let stderr = fs::read(self.stderr()).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr);
        let said = what_was_said(&stderr).join("\n");
        // A launcher that ends well without a run has not done what it was to do.
        let code = u8::try_from(code).ok().filter(|&code| code != 0).unwrap_or(70);
        let json = json!({ "code": code, "stderr": said });
        log::replace(&self.0.join("failure.json"), format!("{json:#}\n").as_bytes())?;
        Ok(Failure { code, said })
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
