//! Two jobs that are given one output folder.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::job::{self, Job, saved};
use crate::process::{Finished, LIMIT, Running, behind, report, start, trials, until};

/// A run that takes some seconds and saves itself now and then.
fn config(iterations: u64) -> Value {
    let mut config = job::config(iterations);
    config["checkpoint"]["every_iterations"] = json!(1000);
    config
}

/// Starts the program with a number of its own, on one rank, in a namespace of its own for process
/// numbers if wanted.
fn begin(job: &Job, output: &Path, apart: bool) -> Running {
    let program = job.program(output);
    let mut command = Command::new(if apart { "unshare" } else { "env" });
    if apart {
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    }
    start(behind(command, &program))
}

fn can_be_apart() -> bool {
    let tried = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Two at once: one goes on, the other one ends with 5, and the first one's run is whole.
fn two_at_once(job: &Job, output: &Path, apart: bool) {
    let mut both = [begin(job, output, apart), begin(job, output, apart)];
    until("one to give up", LIMIT, || both.iter_mut().any(|running| !running.is_running()));
    let [a, b] = both;
    let ends: [Finished; 2] = [a.finish(), b.finish()];
    let mut codes = [ends[0].code, ends[1].code];
    codes.sort_unstable();
    assert_eq!(codes, [0, 5], "{}\n{}", ends[0].err, ends[1].err);
    for end in &ends {
        assert_eq!(end.messages().len(), usize::from(end.code == 5), "{}", end.err);
    }
    job.assert_uncut(output);
}

#[test]
fn of_two_jobs_in_one_folder_one_is_refused() {
    let trials = trials(3, 50);
    let job = Job::new(&config(20_000));
    for trial in 0..trials {
        two_at_once(&job, &job.output(&format!("trial-{trial}")), false);
    }
    report("two jobs started at once in one folder", trials, "one completes, the other exits 5");
}

#[test]
fn so_it_is_where_they_cannot_see_each_other() {
    if !can_be_apart() {
        return println!("skipped: this machine does not permit namespaces of process numbers");
    }
    let trials = trials(1, 50);
    // Long enough for the other one to see that the first one is alive.
    let job = Job::new(&config(60_000));
    for trial in 0..trials {
        two_at_once(&job, &job.output(&format!("trial-{trial}")), true);
    }
    report(
        "two jobs at once in separate namespaces of process numbers",
        trials,
        "one completes, the other exits 5",
    );
}

#[test]
fn the_lock_of_a_dead_run_is_taken_over() {
    let job = Job::new(&config(20_000));
    let output = job.output("dead");
    let running = begin(&job, &output, false);
    until("a checkpoint", LIMIT, || saved(&output).is_some());
    crate::process::kill(running.id());
    drop(running);
    assert!(output.join("lock").exists());
    std::thread::sleep(Duration::from_millis(50));
    let end = begin(&job, &output, false).finish().well();
    assert!(end.err.contains("note"), "{}", end.err);
    assert!(!output.join("lock").exists());
    job.assert_uncut(&output);
}
