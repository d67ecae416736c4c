//! `sobaya sweep SWEEP.json status`: a line for each member.

use std::fmt::Write;

use serde_json::{Value, json};

use super::folder::{MemberFolder, State};
use super::{Sweep, SweepError};
use crate::log::{Record, Records};

impl Sweep {
    /// A table of all members, and how many of them are in which state.
    pub fn status(&self) -> Result<String, SweepError> {
        let mut out = format!(
            "{:<14}{:<10}{:>10}{:>14}{:>12}  settings\n",
            "member", "state", "iterations", "measure", "uploaded"
        );
        let words = ["finished", "diverged", "failed", "running", "stopped", "waiting", "foreign"];
        let mut counts = words.map(|word| (word, 0));
        for member in &self.members {
            let folder = MemberFolder::new(&self.folder, member);
            let state = folder.state(member);
            let word = word(&state);
            let figures = match &state {
                State::Finished(summary) => figures(summary),
                State::Diverged(failure) | State::Failed(failure) => {
                    [format!("exit {}", failure.code), "".into(), "".into()]
                }
                State::Stopped(iteration) => figures(&so_far(&folder, *iteration)),
                State::Running => figures(&so_far(&folder, u64::MAX)),
                State::Waiting | State::Foreign => Default::default(),
            };
            let [iterations, measure, bytes] = figures;
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:<14}{word:<10}{iterations:>10}{measure:>14}{bytes:>12}  {}",
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

/// What the summary of a run will have that has done so many iterations, or as many as its journal has.
fn so_far(folder: &MemberFolder, iterations: u64) -> Value {
    let mut summary = json!({ "iterations": 0, "upload_bytes": 0 });
    // A run that has just begun has none.
    for record in Records::read(folder.path()).into_iter().flatten() {
        match record {
            Record::Row(row) if row.iteration <= iterations => {
                summary["iterations"] = json!(row.iteration);
                summary["upload_bytes"] = json!(row.traffic.upload_bytes);
            }
            Record::Evaluation(iteration, evaluation) if iteration <= iterations => {
                // Without a metric this is null.
                summary["final"] = json!({ "test_accuracy": evaluation.test_accuracy,
                    "validation_loss": evaluation.validation_loss });
            }
            _ => (),
        }
    }
    if iterations < u64::MAX {
        // Not every iteration has a row.
        summary["iterations"] = json!(iterations);
    }
    summary
}

/// Iterations, test accuracy or else validation loss, and uploaded bytes.
fn figures(summary: &Value) -> [String; 3] {
    let last = |name: &str| summary["final"][name].as_f64();
    let accuracy = last("test_accuracy").map(|share| format!("{:.2} %", 100.0 * share));
    let measure =
        accuracy.or_else(|| last("validation_loss").map(|loss| format!("loss {loss:.2e}")));
    [
        summary["iterations"].to_string(),
        measure.unwrap_or_else(|| "-".into()),
        crate::log::bytes(summary["upload_bytes"].as_u64().unwrap_or(0)),
    ]
}
