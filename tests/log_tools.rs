//! A log goes on from any checkpoint's position; what is left of a killed run can be recovered; two logs can
//! be compared.

mod process;

use std::fs;
use std::path::{Path, PathBuf};

use hdf5::File;
use process::{Finished, LIMIT, attribute, column, finish, kill, log, mpirun, plan, quadratic};
use process::{sobaya, start, text, until, write};
use serde_json::{Value, json};
use sobaya::config::Plan;
use sobaya::evaluate::Evaluation;
use sobaya::log::{Log, LogError, Position, Row, Status, verify};
use sobaya::net::{RankReport, Traffic};
use sobaya::output::Lock;
use sobaya::problems::Losses;

fn small() -> Plan {
    let mut config = quadratic();
    config["log"] = json!({ "every": 1, "timing_every": 1 });
    plan(&config)
}

/// The row of an iteration, with its reports and an evaluation.
fn add(log: &mut Log, k: u64, ranks: usize) {
    let losses = Losses { upper: k as f64, lower: -(k as f64) };
    let traffic = Traffic { upload_bytes: 10 * k, download_bytes: 20 * k };
    log.row(Row { iteration: k, wall_time: k as f64, losses, traffic, ranks: vec![] });
    let mut evaluation = Evaluation::NONE;
    evaluation.test_loss = k as f64;
    log.evaluation(k, evaluation).expect("a writable journal");
    let report = RankReport { wire_bytes_up: k, wire_bytes_down: 2 * k, seconds: [1.0; _] };
    log.reports(&vec![report; ranks]).expect("a writable journal");
}

/// A run of one rank that saved its state after row 2 and was killed after row 4.
fn interrupted(folder: &Path, plan: &Plan) -> Position {
    let (lock, _) = Lock::take(folder).expect("a free folder");
    let mut log = Log::create(lock.claim(), plan, 1).expect("an empty folder");
    (0..3).for_each(|k| add(&mut log, k, 1));
    let position = log.position().expect("all ranks have reported");
    (3..5).for_each(|k| add(&mut log, k, 1));
    log.position().expect("all ranks have reported");
    position
}

#[test]
fn a_resumed_log_has_each_row_once_and_is_as_wide_as_its_widest_part() {
    let top = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (top.path().join("out"), small());
    let position = interrupted(&folder, &plan);
    fs::write(folder.join("summary.json"), "{}").expect("a writable folder");
    let (lock, notice) = Lock::take(&folder).expect("a free folder");
    assert_eq!(notice, None);
    let mut resumed = Log::resume(lock.claim(), &plan, 3, &position).expect("a good journal");
    assert!(!folder.join("summary.json").exists(), "the run has not ended after all");
    assert_eq!(column(&log(&folder), "iteration"), [0.0, 1.0, 2.0], "the rest is taken back");
    add(&mut resumed, 3, 3);
    let later = resumed.position().expect("all ranks have reported");
    assert_eq!((later.part, later.wall_time >= position.wall_time), (1, true));
    verify(&folder, &later).expect("the journal that was written");
    resumed.finish(Status::Stopped, "time limit", &json!({ "name": "a" })).expect("a log");

    let log = log(&folder);
    assert_eq!(column(&log, "iteration"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(column(&log, "part"), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(column(&log, "eval_iteration"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(
        column(&log, "wire_bytes_up"),
        [0, -1, -1, 1, -1, -1, 2, -1, -1, 3, 3, 3].map(f64::from)
    );
    let times = column(&log, "time_wait");
    let known: Vec<usize> = (0..12).filter(|&i| times[i] == 1.0).collect();
    assert_eq!(known, [0, 3, 6, 9, 10, 11]);
    assert_eq!(times.iter().filter(|time| time.is_nan()).count(), 6);
    let wall = column(&log, "wall_time");
    assert_eq!(wall[..3], [0.0, 1.0, 2.0]);
    assert_eq!(wall[3], 3.0 + position.wall_time);

    assert_eq!(log.attr("n_ranks").and_then(|n| n.read_scalar::<i32>()).expect("n_ranks"), 3);
    let json =
        |name: &str| -> Value { serde_json::from_str(&attribute(&log, name)).expect("JSON") };
    let parts = json("parts_json");
    assert_eq!([&parts[0]["ranks"], &parts[1]["ranks"]], [&json!(1), &json!(3)]);
    assert_eq!(parts[1], json("provenance_json"));
    assert_eq!(
        (&*attribute(&log, "status"), &*attribute(&log, "stop_reason")),
        ("stopped", "time limit")
    );
    let summary = json!({ "name": "a", "status": "stopped", "stop_reason": "time limit" });
    assert_eq!(process::summary(&folder), summary);
}

#[test]
fn a_log_goes_on_whatever_was_torn_behind_its_position() {
    let top = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (top.path().join("out"), small());
    let position = interrupted(&folder, &plan);
    let journal = folder.join("log.journal");
    let bytes = fs::read(&journal).expect("a journal");
    let (lock, _) = Lock::take(&folder).expect("a free folder");
    for cut in 0..=bytes.len() {
        fs::write(&journal, &bytes[..cut]).expect("a writable folder");
        let whole = cut as u64 >= position.bytes;
        match verify(&folder, &position) {
            Ok(()) => assert!(whole, "cut to {cut}"),
            Err(error) => {
                let damaged = error.to_string();
                assert!(!whole && damaged.contains("log.journal"), "{damaged}");
                // Every cut takes the same way; what costs is building log.h5.
                if cut % 16 == 0 {
                    assert!(Log::resume(lock.claim(), &plan, 1, &position).is_err());
                    assert_eq!(fs::read(&journal).expect("a journal"), bytes[..cut], "untouched");
                }
            }
        }
        if whole {
            Log::resume(lock.claim(), &plan, 1, &position).expect("a good journal");
            let resumed = fs::read(&journal).expect("a journal");
            assert_eq!(resumed[..position.bytes as usize], bytes[..position.bytes as usize]);
            assert_eq!(column(&log(&folder), "iteration"), [0.0, 1.0, 2.0], "cut to {cut}");
        }
    }
}

#[test]
fn positions_that_are_none_are_refused() {
    let top = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (top.path().join("out"), small());
    let position = interrupted(&folder, &plan);
    let refused =
        |changed: Position| verify(&folder, &changed).expect_err("no position").to_string();
    let inside = refused(Position { bytes: position.bytes - 1, ..position });
    assert!(inside.contains("inside a record"), "{inside}");
    let foreign = refused(Position { part: 1, ..position });
    assert!(foreign.contains("not written by part 1"), "{foreign}");
    let journal = folder.join("log.journal");
    let mut bytes = fs::read(&journal).expect("a journal");
    bytes[position.bytes as usize / 2] ^= 4;
    fs::write(&journal, bytes).expect("a writable folder");
    let damaged = refused(position);
    assert!(damaged.contains("damaged or missing"), "{damaged}");

    let (lock, _) = Lock::take(&top.path().join("other")).expect("a free folder");
    let mut log = Log::create(lock.claim(), &plan, 1).expect("an empty folder");
    add(&mut log, 0, 1);
    let (losses, traffic) = (Losses { upper: 0.0, lower: 0.0 }, Traffic::default());
    log.row(Row { iteration: 1, wall_time: 0.0, losses, traffic, ranks: vec![] });
    let error = log.position().expect_err("a row that would be lost");
    assert!(matches!(error, LogError::Unreported { iteration: 1 }));
    assert_eq!(sobaya::error::Error::from(error).code(), 70);
}

#[test]
fn nothing_is_logged_once_the_folder_is_another_runs() {
    let top = tempfile::tempdir().expect("a folder");
    let (folder, plan) = (top.path().join("out"), small());
    let (lock, _) = Lock::take(&folder).expect("a free folder");
    let mut lost = Log::create(lock.claim(), &plan, 1).expect("an empty folder");
    add(&mut lost, 0, 1);
    let position = lost.position().expect("all ranks have reported");
    fs::remove_file(folder.join("lock")).expect("the lock");
    let (taken, _) = Lock::take(&folder).expect("a free folder");
    Log::resume(taken.claim(), &plan, 1, &position).expect("a good journal");
    let before = process::files(&folder);

    add(&mut lost, 1, 1);
    let error = lost.finish(Status::Completed, "", &json!({})).expect_err("a lost folder");
    assert_eq!(sobaya::error::Error::from(error).code(), 5);
    drop(lock);
    assert_eq!(process::files(&folder), before);
}

fn run(folder: &Path, name: &str, config: &Value, ranks: usize) -> PathBuf {
    let path = write(folder, config);
    let output = folder.join(name);
    finish(mpirun(ranks, &sobaya(&["run", text(&path), "--out", text(&output)]))).well();
    output
}

fn tool(arguments: &[&str]) -> Finished {
    finish(sobaya(&[&["log"], arguments].concat()))
}

#[test]
fn logs_of_the_same_run_do_not_differ_and_every_other_value_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = [1, 3].map(|ranks| run(folder.path(), &format!("{ranks}"), &quadratic(), ranks));
    let same = tool(&["diff", text(&a), text(&b.join("log.h5"))]).well();
    assert_eq!((&*same.out, &*same.err), ("", ""));

    let file = File::open_rw(b.join("log.h5")).expect("a log");
    let mut losses = column(&file, "upper_loss");
    let old = losses[17];
    losses[17] = f64::from_bits(old.to_bits() ^ 1);
    file.dataset("upper_loss").and_then(|d| d.write_raw(&losses)).expect("a writable log");
    let new = losses[17];
    drop(file);
    let differing = tool(&["diff", text(&a), text(&b)]);
    assert_eq!(differing.out, format!("upper_loss[17]: {old:?} and {new:?}\n"));
    assert_eq!((differing.code, differing.messages().len()), (1, 1), "{}", differing.err);

    let mut shorter = quadratic();
    shorter["iterations"] = json!(150);
    let c = run(folder.path(), "shorter", &shorter, 1);
    let differing = tool(&["diff", text(&a), text(&c)]);
    assert_eq!(differing.code, 1);
    for line in ["iteration: 201 and 151 values", "upper_loss: 201 and 151 values", "config_json, "]
    {
        assert!(differing.out.contains(line), "{line}: {}", differing.out);
    }
    let unreadable = tool(&["diff", text(&a), text(&a.join("config.json"))]);
    assert_eq!((unreadable.code, unreadable.messages().len()), (5, 1), "{}", unreadable.err);
    assert!(unreadable.err.contains("config.json"), "{}", unreadable.err);
}

#[test]
fn the_log_of_a_killed_run_is_recovered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(100_000_000);
    config["evaluate"] = json!({ "every": 100 });
    let path = write(folder.path(), &config);
    let output = folder.path().join("out");
    let running = start(sobaya(&["run", text(&path), "--out", text(&output)]));
    let journal = output.join("log.journal");
    until("some rows", LIMIT, || journal.metadata().is_ok_and(|file| file.len() > 10_000));
    let refused = tool(&["recover", text(&output)]);
    assert_eq!((refused.code, refused.messages().len()), (5, 1), "{}", refused.err);
    let holder = format!("in use by process {} on ", running.id());
    assert!(refused.err.contains(&holder), "{}", refused.err);
    kill(running.id());
    assert_eq!(running.finish().code, 128 + 9);

    fs::remove_file(output.join("log.h5")).expect("a log");
    let recovered = tool(&["recover", text(&output)]).well();
    assert!(recovered.err.contains("was left locked by process"), "{}", recovered.err);
    let file = log(&output);
    let rows = column(&file, "iteration");
    assert!(rows.iter().enumerate().all(|(k, &row)| row == k as f64));
    let evaluations = column(&file, "eval_iteration").len();
    let said = format!("out: {} rows, {evaluations} evaluations", rows.len());
    assert!(rows.len() > 100 && recovered.out.contains(&said), "{}", recovered.out);
    assert_eq!(attribute(&file, "status"), "stopped");
    assert_eq!(attribute(&file, "stop_reason"), "recovered from the journal");
    let digest = sobaya::config::sha256_hex(&plan(&config).resolved);
    assert_eq!(attribute(&file, "config_sha256"), digest);
    drop(file);
    assert!(!output.join("lock").exists());

    let again = tool(&["recover", text(&output)]).well();
    assert!(again.out.contains("left as it is"), "{}", again.out);
    // Without its config a journal says nothing of the run.
    fs::remove_file(output.join("config.json")).expect("a config");
    let before = process::files(&output);
    let nowhere = folder.path().join("nowhere");
    for (folder, name) in [(&output, "out"), (&nowhere, "nowhere")] {
        let refused = tool(&["recover", text(folder)]);
        assert_eq!((refused.code, refused.messages().len()), (5, 1), "{}", refused.err);
        assert!(refused.err.contains(&format!("{name}/config.json")), "{}", refused.err);
    }
    assert!(process::files(&output) == before && !nowhere.exists());
}

#[test]
fn a_completed_run_is_not_recovered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(5);
    let output = run(folder.path(), "out", &config, 2);
    let before = process::files(&output);
    let left = tool(&["recover", text(&output)]).well();
    assert!(left.out.contains("of a completed run"), "{}", left.out);
    assert_eq!(process::files(&output), before);
}
