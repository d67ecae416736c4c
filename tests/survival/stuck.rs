//! Ranks that stand still for a while, and for ever.

use std::time::Duration;

use crate::job::{Job, config, end_of, of_rank, saved};
use crate::process::{LIMIT, mpirun, report, start, trials, until};

fn send(signal: i32, id: u32) {
    // SAFETY: sends a signal to a process that a test started.
    unsafe { libc::kill(id as libc::pid_t, signal) };
}

#[test]
fn a_rank_that_stands_still_for_a_while_changes_no_bit() {
    let trials = trials(1, 10);
    let job = Job::new(&config(1500));
    for trial in 0..trials {
        let output = job.output(&format!("paused-{trial}"));
        let running = job.start(3, &output);
        until("a checkpoint", LIMIT, || saved(&output).is_some());
        if let Some(id) = of_rank(&running, trial % 3) {
            send(libc::SIGSTOP, id);
            std::thread::sleep(Duration::from_secs(3));
            send(libc::SIGCONT, id);
        }
        running.finish().well();
        job.assert_uncut(&output);
    }
    report("SIGSTOP of a rank for 3 s", trials, "each run bitwise the uncut one");
}

#[test]
fn a_rank_that_stands_still_for_ever_ends_the_job() {
    let trials = trials(2, 3);
    let job = Job::new(&config(1500));
    for trial in 0..trials {
        let output = job.output(&format!("stuck-{trial}"));
        let mut impatient = job.program(&output);
        impatient.args(["--set", "watchdog_seconds=5"]);
        let running = start(mpirun(3, &impatient));
        until("a checkpoint", LIMIT, || saved(&output).is_some());
        let id = of_rank(&running, trial % 3).expect("it runs");
        send(libc::SIGSTOP, id);
        std::thread::sleep(Duration::from_secs(3));
        until("the watchdog", LIMIT, || !running_others(&running, id));
        send(libc::SIGCONT, id);
        let end = end_of(running);
        assert_eq!((end.code, end.messages().len()), (70, 1), "{}", end.err);
        assert!(end.err.contains("no progress") && end.err.contains("iteration"), "{}", end.err);
        // With the watchdog of every run: on a busy machine no iteration counts as stuck.
        job.finish(2, &output).well();
        job.assert_uncut(&output);
    }
    report(
        "SIGSTOP of a rank for ever",
        trials,
        "the watchdog of another rank ends the job with 70 and one message; resumed bitwise",
    );
}

/// Whether ranks other than this one are there.
fn running_others(job: &crate::process::Running, stopped: u32) -> bool {
    (0..3).filter_map(|rank| of_rank(job, rank)).any(|id| id != stopped)
}
