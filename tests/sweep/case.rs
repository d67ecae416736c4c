//! A sweep file in a folder of its own, and the program that runs it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sobaya::sweep::{Member, SweepFile, members};

use crate::process::{Finished, files, finish, let_launch, quadratic, sobaya, text};

/// A sweep of short runs, to be changed by the test.
pub fn example() -> Value {
    let mut base = quadratic();
    base["iterations"] = json!(20);
    json!({ "name": "example", "base": base, "grid": { "seed": [1, 2, 3] } })
}

/// A folder with a sweep file.
pub struct Case {
    pub folder: tempfile::TempDir,
    pub file: PathBuf,
}

impl Case {
    pub fn new(sweep: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sweep.json");
        fs::write(&file, sweep.to_string()).expect("a writable folder");
        Self { folder, file }
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Where the runs' MPI sessions are.
    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let out = self.out();
        let mut command = sobaya(&["sweep", text(&self.file), "--out", text(&out)]);
        command.args(arguments).current_dir(self.folder.path());
        fs::create_dir_all(self.temporary()).expect("a writable folder");
        command.env("TMPDIR", self.temporary());
        let_launch(&mut command);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.command(arguments))
    }

    pub fn plan(&self) -> Vec<Member> {
        SweepFile::read(&self.file).and_then(|file| members(&file)).expect("a good sweep")
    }

    /// How many members are completed.
    pub fn completed(&self) -> usize {
        let is_completed = |member: &Member| {
            let summary = fs::read(self.out().join(&member.hash).join("summary.json"));
            let summary =
                summary.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            summary.is_some_and(|summary| summary["status"] == "completed")
        };
        self.plan().iter().filter(|member| is_completed(member)).count()
    }

    /// Refused with this code and words, and not a file has changed.
    pub fn is_refused(&self, code: i32, words: &[&str]) {
        fs::create_dir(self.temporary()).expect("a writable folder");
        let before = files(self.folder.path());
        let refused = self.run(&[]);
        assert_eq!(refused.code, code, "{}", refused.err);
        let [message] = refused.messages()[..] else { panic!("{}", refused.err) };
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
        assert!(before == files(self.folder.path()), "something was written");
    }
}
