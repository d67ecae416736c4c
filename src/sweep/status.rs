//! `sobaya sweep SWEEP.json status`: a line for each member.

use std::fmt::Write;

use serde_json::Value;

use super::folder::{MemberFolder, State};
use super::{Sweep, SweepError};

impl Sweep {
    /// A table of all members, and how many of them are in which state.
    pub fn status(&self) -> Result<String, SweepError> {
        let mut out = format!(
            "{:<14}{:<10}{:>10}{:>10}{:>12}  settings\n",
            "member", "state", "iterations", "accuracy", "uploaded"
        );
        let words = ["finished", "diverged", "failed", "running", "stopped", "waiting", "foreign"];
        let mut counts = words.map(|word| (word, 0));
        for member in &self.members {
            let state = MemberFolder::new(&self.folder, member).state(member);
            let word = word(&state);
            let figures = match &state {
                State::Finished(summary) => figures(summary),
                State::Diverged(failure) | State::Failed(failure) => {
                    [format!("exit {}", failure.code), "".into(), "".into()]
                }
                State::Stopped(iteration) => [iteration.to_string(), "".into(), "".into()],
                _ => Default::default(),
            };
            let [iterations, accuracy, bytes] = figures;
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:<14}{word:<10}{iterations:>10}{accuracy:>10}{bytes:>12}  {}",
                member.hash,
                member.words()
            );
            counts.iter_mut().filter(|(name, _)| *name == word).for_each(|(_, count)| *count += 1);
        }
        let counts: Vec<String> = (counts.iter())
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let _ = writeln!(out, "{} members: {}", self.members.len(), counts.join(", "));
        Ok(out)
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Finished(_) => "finished",
        State::Diverged(_) => "diverged",
        State::Failed(_) => "failed",
        State::Running => "running",
        State::Stopped(_) => "stopped",
        State::Waiting => "waiting",
        State::Foreign => "foreign",
    }
}

/// Iterations, test accuracy where there is one, and uploaded bytes.
fn figures(summary: &Value) -> [String; 3] {
    let accuracy = summary["final"]["test_accuracy"].as_f64();
    [
        summary["iterations"].to_string(),
        accuracy.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share)),
        crate::log::bytes(summary["upload_bytes"].as_u64().unwrap_or(0)),
    ]
}
