//! Short runs of which every call that touches the output folder is known.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::job::Job;
use crate::process::{Finished, copy, quadratic};
use crate::strace::{Call, trace};

/// A run that is over soon, with four checkpoints, so that two sets are removed on the way.
pub fn config() -> Value {
    let mut config = quadratic();
    config["workers"] = json!(4);
    config["iterations"] = json!(12);
    config["problem"] =
        json!({ "kind": "quadratic", "dim_upper": 10, "dim_lower": 12, "noise": 0.1 });
    config["evaluate"] = json!({ "every": 5 });
    config["checkpoint"] = json!({ "every_iterations": 3, "cost": 1.0 });
    config
}

/// A way to begin, and the calls of the run that then goes undisturbed to its end.
pub struct Scenario<'j> {
    job: &'j Job,
    /// The folder in which the output folder is.
    pub top: PathBuf,
    /// What the output folder holds at the start, if there is one.
    start: Option<PathBuf>,
    pub calls: Vec<Call>,
}

impl<'j> Scenario<'j> {
    /// A run from its start, and one that goes on from a run that was killed as it was to seal its third set.
    pub fn all(job: &'j Job) -> [Self; 2] {
        let fresh = Self::record(job, "fresh", None);
        let seals = fresh.calls.iter().filter(|call| {
            call.name.starts_with("rename") && call.paths()[1].ends_with("manifest.json")
        });
        let third = seals.into_iter().nth(2).expect("a third set");
        assert!(fresh.go_wrong(third, "signal=KILL").is_some(), "the program is killed");
        let start = job.output("start");
        copy(&fresh.output(), &start);
        [fresh, Self::record(job, "resumed", Some(start))]
    }

    fn record(job: &'j Job, name: &str, start: Option<PathBuf>) -> Self {
        let mut scenario = Self { job, top: job.output(name), start, calls: vec![] };
        scenario.reset();
        let (end, calls) = trace(&job.program(&scenario.output()), &scenario.top, None);
        end.expect("the program's end").well();
        job.assert_uncut(&scenario.output());
        scenario.calls = calls;
        scenario
    }

    pub fn output(&self) -> PathBuf {
        self.top.join("out")
    }

    /// Makes everything as it is at the start.
    pub fn reset(&self) {
        let _ = fs::remove_dir_all(&self.top);
        fs::create_dir_all(&self.top).expect("a folder of this test");
        if let Some(start) = &self.start {
            copy(start, &self.output());
        }
    }

    /// So many of the calls, all over the run.
    pub fn some(&self, count: usize) -> impl Iterator<Item = &Call> {
        let (all, count) = (self.calls.len(), count.min(self.calls.len()));
        (0..count).map(move |k| &self.calls[(2 * k + 1) * all / (2 * count)])
    }

    /// Runs from the start with a call that goes wrong, as strace says it. `None`: the run did not come to this
    /// call in the same way. MPI makes calls of its own before, now and then one more or less.
    pub fn go_wrong(&self, call: &Call, how: &str) -> Option<Finished> {
        [0, 0, -1, 1, 0].into_iter().find_map(|more| {
            let ordinal = call.ordinal.saturating_add_signed(more).max(1);
            let inject = format!("{}:{how}:when={ordinal}", call.name);
            self.reset();
            let (end, calls) = trace(&self.job.program(&self.output()), &self.top, Some(&inject));
            let hit = |found: &&Call| found.result.is_none() || found.injected;
            let hits: Vec<&Call> = calls.iter().filter(hit).collect();
            let hit = matches!(hits[..], [found] if found.is_like(call));
            // One that did not end was hit elsewhere: an error inside of MPI is not this program's.
            hit.then(|| end.expect("the program's end"))
        })
    }
}

/// The iteration at which a run said that it goes on.
pub fn resumed_at(end: &Finished) -> Option<u64> {
    let (_, words) = end.err.split_once("resumed at iteration ")?;
    words.split(' ').next()?.parse().ok()
}

/// Starts the program again on what a disturbed run has left: it gets to the uncut run's end, from `sealed` or
/// later, if that set was sealed; whether it had something to do.
pub fn goes_on(job: &Job, output: &Path, sealed: Option<u64>, case: &str) -> bool {
    let end = crate::process::finish(job.program(output));
    assert_eq!(end.code, 0, "{case}: {}", end.err);
    job.assert_uncut(output);
    let complete = end.err.contains("complete already");
    let resumed = resumed_at(&end);
    assert!(complete || resumed >= sealed, "{case}: at {resumed:?}, not {sealed:?}: {}", end.err);
    !complete
}
