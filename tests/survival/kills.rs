//! kill -9.

use std::time::{Duration, Instant};

use crate::job::{Dice, GONE, Job, config, end_of, of_rank, saved};
use crate::process::{self, descendants, is_alive, report, trials, until};

/// Kills jobs on random numbers of ranks at random moments, always starting them again, until so many were
/// hit; `victim` chooses a process. Each run that gets to its end is the uncut one.
fn kill(
    hits: usize,
    seed: u64,
    victim: impl Fn(&process::Running, usize) -> Option<u32>,
) -> String {
    let job = Job::new(&config(1500));
    let mut dice = Dice::new(seed);
    let (mut hit, mut resumed, mut runs) = (0, 0, 0);
    while hit < hits {
        let output = job.output(&format!("run-{runs}"));
        runs += 1;
        loop {
            let ranks = 1 + dice.below(4) as usize;
            let before = saved(&output);
            resumed += usize::from(before.is_some());
            let started = Instant::now();
            let mut running = job.start(ranks, &output);
            // Some four hits on the way of a run.
            let moment = Duration::from_millis(dice.below(1 + job.took.as_millis() as u64));
            until("the moment", process::LIMIT, || {
                started.elapsed() > moment || !running.is_running()
            });
            if hit < hits
                && let Some(id) = victim(&running, dice.below(ranks as u64) as usize)
            {
                process::kill(id);
                let code = end_of(running).code;
                // A rank may have been done just before.
                hit += usize::from(code != 0);
            } else {
                running.finish().well();
            }
            assert!(saved(&output) >= before, "no checkpoint is lost");
            if output.join("summary.json").exists()
                && process::summary(&output)["status"] == "completed"
            {
                break;
            }
        }
        job.assert_uncut(&output);
        std::fs::remove_dir_all(&output).expect("a folder of this test");
    }
    format!(
        "{resumed} resumed from a checkpoint, {runs} runs at their end, each bitwise the uncut one"
    )
}

#[test]
fn a_killed_rank_costs_nothing_but_time() {
    let hits = trials(8, 200);
    let seen = kill(hits, 1, of_rank);
    report("kill -9 of a random rank at a random moment; the same command goes on", hits, &seen);
}

#[test]
fn a_killed_launcher_costs_nothing_but_time() {
    let hits = trials(2, 20);
    let seen = kill(hits, 2, |running, _| Some(running.id()));
    report("kill -9 of mpirun; nothing of the job alive 10 s later", hits, &seen);
}

#[test]
fn nothing_of_a_job_outlives_its_launcher() {
    let job = Job::new(&config(1500));
    let output = job.output("out");
    let mut running = job.start(3, &output);
    until("the first checkpoint", process::LIMIT, || saved(&output).is_some());
    let ids = descendants(running.id());
    assert!(ids.len() >= 3 && running.is_running());
    process::kill(running.id());
    until("the ranks' end", GONE, || !ids.iter().any(|&id| is_alive(id)));
}
