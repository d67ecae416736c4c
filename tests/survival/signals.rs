//! Signals to one rank, to all, and to the launcher, while the run computes, evaluates and saves.

use std::time::Duration;

use serde_json::{Value, json};

use crate::job::{Dice, Job, config, end_of, of_rank, saved};
use crate::process::{self, LIMIT, Running, attribute, log, report, summary, trials, until};

const RANKS: usize = 3;

/// Who gets the signal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Rank(usize),
    All,
    Launcher,
}

const TARGETS: [Target; 4] = [Target::Rank(0), Target::Rank(2), Target::All, Target::Launcher];
const SIGNALS: [(i32, &str); 4] = [
    (libc::SIGUSR1, "signal USR1"),
    (libc::SIGUSR2, "signal USR2"),
    (libc::SIGTERM, "signal TERM"),
    (libc::SIGINT, "signal INT"),
];

fn send(signal: i32, id: u32) {
    // SAFETY: sends a signal to a process that a test started.
    unsafe { libc::kill(id as libc::pid_t, signal) };
}

fn signal(running: &Running, signal: i32, target: Target) {
    match target {
        Target::Rank(rank) => send(signal, of_rank(running, rank).expect("it runs")),
        Target::All => {
            (0..RANKS).for_each(|rank| send(signal, of_rank(running, rank).expect("it runs")))
        }
        Target::Launcher => send(signal, running.id()),
    }
}

/// Runs that spend their time in one place.
fn phases() -> [(&'static str, Value); 3] {
    let with = |iterations: u64, key: &str, value: Value| {
        let mut config = config(iterations);
        config[key] = value;
        config
    };
    [
        (
            "compute",
            with(
                1000,
                "problem",
                json!({ "kind": "quadratic", "dim_upper": 200, "dim_lower": 300 }),
            ),
        ),
        ("evaluate", with(800, "evaluate", json!({ "every": 1, "hypergradient": true }))),
        ("save", with(1500, "checkpoint", json!({ "every_iterations": 1, "cost": 1.0 }))),
    ]
}

#[test]
fn signals_stop_a_run_with_a_checkpoint() {
    let all = trials(4, 48);
    let mut cases: Vec<(usize, Target, (i32, &str))> = (0..3)
        .flat_map(|phase| TARGETS.map(|target| (phase, target)))
        .flat_map(|(phase, target)| SIGNALS.map(|signal| (phase, target, signal)))
        .collect();
    if all < cases.len() {
        // One of each signal and target, and each phase.
        let few = [
            (2, Target::Rank(2), 0),
            (1, Target::All, 2),
            (0, Target::Launcher, 1),
            (0, Target::Rank(0), 3),
        ];
        cases = few.map(|(phase, target, signal)| (phase, target, SIGNALS[signal])).to_vec();
    }
    let jobs = phases().map(|(_, config)| Job::new(&config));
    let mut dice = Dice::new(3);
    let (mut stopped, mut ended) = (0, 0);
    for case in 0..all {
        let (phase, target, (number, words)) = cases[case % cases.len()];
        let job = &jobs[phase];
        let output = job.output(&format!("case-{case}"));
        let mut running = job.start(RANKS, &output);
        until("a checkpoint", LIMIT, || saved(&output).is_some());
        std::thread::sleep(Duration::from_millis(dice.below(100)));
        if !running.is_running() {
            panic!("the run was too short to be hit");
        }
        signal(&running, number, target);
        let end = end_of(running);
        let heeded =
            target != Target::Launcher || number == libc::SIGUSR1 || number == libc::SIGUSR2;
        let case = format!("{words} to {target:?} in {}: {}", phases()[phase].0, end.err);
        if heeded {
            assert_eq!(end.code, 75, "{case}");
            assert_eq!(end.messages().len(), 1, "{case}");
            assert_eq!(summary(&output)["status"], "stopped", "{case}");
            assert_eq!(attribute(&log(&output), "stop_reason"), words, "{case}");
            let done = summary(&output)["iterations"].as_u64();
            assert_eq!(saved(&output), done, "{case}");
            stopped += 1;
        } else {
            assert_ne!(end.code, 0, "{case}");
            ended += 1;
        }
        job.finish(2, &output).well();
        job.assert_uncut(&output);
        std::fs::remove_dir_all(&output).expect("a folder of this test");
    }
    let seen = format!(
        "{stopped} stopped by themselves with 75 and resumed, {ended} ended by mpirun (TERM or INT sent to \
         it) and resumed from the last checkpoint; all bitwise the uncut run"
    );
    report(
        "USR1, USR2, TERM, INT to one rank, all, mpirun while it computes, evaluates, saves",
        all,
        &seen,
    );
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut config = config(1000);
    // A step that takes long, so that no stop comes between.
    config["problem"] = json!({ "kind": "quadratic", "dim_upper": 2000, "dim_lower": 2000 });
    config["workers"] = json!(2);
    let folder = tempfile::tempdir().expect("a folder");
    let path = process::write(folder.path(), &config);
    let output = folder.path().join("out");
    let program = process::sobaya(&["run", process::text(&path), "--out", process::text(&output)]);
    let mut running = process::start(program);
    std::thread::sleep(Duration::from_millis(500));
    send(libc::SIGTERM, running.id());
    std::thread::sleep(Duration::from_millis(2100));
    if running.is_running() {
        send(libc::SIGTERM, running.id());
        let code = running.finish().code;
        assert!(code == 128 + libc::SIGTERM || code == 75, "{code}");
    }
}
