//! Members that are stopped: they go on where they were.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::{Case, example};
use crate::process::{LIMIT, Running, descendants, files, start, summary, until};
use crate::{collected, is_gone};

/// Two members that take seconds.
fn long() -> Value {
    let mut sweep = example();
    sweep["base"]["iterations"] = json!(12_000);
    sweep["base"]["log"] = json!({ "every": 100 });
    sweep["grid"]["seed"] = json!([1, 2]);
    sweep["ranks"] = json!(2);
    sweep
}

fn signal(running: &Running, signal: libc::c_int) {
    // SAFETY: a signal to a process that this test has started.
    unsafe { libc::kill(running.id() as libc::pid_t, signal) };
}

/// Waits until a run has written rows, the first time, or until it goes on.
fn await_run(case: &Case, hash: &str, goes_on: bool) {
    let folder = case.out().join(hash);
    let has_rows =
        || fs::metadata(folder.join("log.journal")).is_ok_and(|journal| journal.len() > 1000);
    let has_resumed =
        || fs::read_to_string(folder.join("stderr")).is_ok_and(|said| said.contains("resumed at"));
    until("a run", LIMIT, || if goes_on { has_resumed() } else { has_rows() });
}

#[test]
fn a_signal_stops_every_member_with_a_checkpoint_from_which_it_goes_on() {
    let whole = Case::new(&long());
    whole.run(&["--local", "2"]).well();
    let broken = Case::new(&long());
    let hashes: Vec<String> = broken.plan().into_iter().map(|member| member.hash).collect();
    for (sent, goes_on) in [(libc::SIGUSR1, false), (libc::SIGTERM, true)] {
        let mut running = start(broken.command(&["--local", "2"]));
        hashes.iter().for_each(|hash| await_run(&broken, hash, goes_on));
        let status = broken.run(&["status"]).well().out;
        for line in status.lines().filter(|line| line.contains("  running ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words[2].parse::<u64>().is_ok(), "{status}");
            assert_eq!(words[3], "loss", "{status}");
        }
        assert!(status.contains("  running "), "{status}");
        let ids = descendants(running.id());
        signal(&running, sent);
        is_gone(&mut running, &ids, Instant::now());
        let stopped = running.finish();
        assert_eq!(stopped.code, 75, "{}", stopped.err);
        for words in [&hashes[0], "stopped before its end: seed=1", "the same command goes on"] {
            assert!(stopped.err.contains(words), "{words}: {}", stopped.err);
        }
        let status = broken.run(&["status"]).well().out;
        assert!(status.contains("2 members: 2 stopped"), "{status}");
        let iterations = summary(&broken.out().join(&hashes[1]))["iterations"].to_string();
        let line = status.lines().find(|line| line.starts_with(&hashes[1])).expect("a line");
        assert!(line.contains(&iterations) && line.contains(" loss "), "{iterations}: {status}");
    }
    // A task of a job array stops its member, too, and says so by its exit code.
    fs::remove_file(broken.out().join(&hashes[0]).join("stderr")).expect("a file");
    let member = start(broken.command(&["run", "--member", &hashes[0]]));
    await_run(&broken, &hashes[0], true);
    signal(&member, libc::SIGUSR1);
    let stopped = member.finish();
    assert_eq!(stopped.code, 75, "{}", stopped.err);

    broken.run(&["--local", "2"]).well();
    for hash in &hashes {
        let said = fs::read_to_string(broken.out().join(hash).join("stderr")).expect("a file");
        assert!(said.contains("resumed at iteration"), "{said}");
    }
    assert!(collected(&broken) == collected(&whole));
}

#[test]
fn a_second_ctrl_c_kills_what_does_not_stop() {
    let mut sweep = example();
    sweep["launcher"] = json!(["bash", "-c", "trap '' USR1; touch \"$5\"/runs; sleep 1000", "x"]);
    let case = Case::new(&sweep);
    let mut running = start(case.command(&[]));
    let started = case.out().join(&case.plan()[0].hash).join("runs");
    until("the member's start", LIMIT, || started.exists());
    let ids = descendants(running.id());
    signal(&running, libc::SIGINT);
    let asked = Instant::now();
    // Too soon to be a second thought.
    std::thread::sleep(Duration::from_millis(500));
    signal(&running, libc::SIGINT);
    while asked.elapsed() < Duration::from_millis(2500) {
        assert!(running.is_running(), "it was killed by the first one");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&running, libc::SIGINT);
    is_gone(&mut running, &ids, Instant::now());
    let stopped = running.finish();
    assert_eq!(stopped.code, 75, "{}", stopped.err);
}

#[test]
fn a_member_that_is_stopped_by_itself_is_no_failure() {
    let case = Case::new(&example());
    let plan = case.plan();
    let folder = case.out().join(&plan[1].hash);
    fs::create_dir_all(&folder).expect("a writable folder");
    fs::write(folder.join("STOP"), "").expect("a writable folder");
    let stopped = case.run(&[]);
    assert_eq!((stopped.code, case.completed()), (75, 2), "{}", stopped.err);
    assert!(stopped.err.contains("stopped when 2 of 3 members were finished"), "{}", stopped.err);
    assert!(!folder.join("failure.json").exists());
    let _ = fs::remove_file(folder.join("STOP"));

    // What another program has begun is begun anew if that is asked for.
    let checkpoints = files(&folder).into_keys().filter(|path| path.ends_with("manifest.json"));
    assert_eq!(checkpoints.count(), 1);
    let origin = folder.join("origin.json");
    let other = fs::read_to_string(&origin).expect("a file").replace("executable", "other");
    fs::write(&origin, other).expect("our own file");
    case.run(&["--redo"]).well();
    let said = fs::read_to_string(folder.join("stderr")).expect("a file");
    assert!(!said.contains("resumed"), "{said}");
}
