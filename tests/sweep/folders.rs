//! Folders that hold something else than the sweep: nothing of it is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::json;
use sobaya::output::Lock;

use crate::case::{Case, example};
use crate::process::{files, finish, sobaya, text, write};

/// What an action is refused with in this sweep's folder, in which nothing changes by it.
fn refused(case: &Case, arguments: &[&str], words: &[&str]) {
    let before = files(&case.out());
    let refused = case.run(arguments);
    assert_eq!(refused.code, 5, "{arguments:?}: {}{}", refused.out, refused.err);
    for word in words {
        assert!(refused.err.contains(word), "{arguments:?}, {word}: {}", refused.err);
    }
    assert!(before == files(&case.out()), "{arguments:?}: something was written");
}

const ACTIONS: [&[&str]; 4] = [&[], &["collect"], &["run", "--member", "0"], &["--slurm"]];

#[test]
fn a_folder_of_another_sweep_is_left_alone() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    sweep["grid"]["seed"] = json!([1]);
    let case = Case::new(&sweep);
    case.run(&[]).well();
    case.run(&["collect"]).well();
    sweep["name"] = json!("other");
    fs::write(&case.file, sweep.to_string()).expect("a writable folder");
    for action in ACTIONS {
        refused(&case, action, &["holds the sweep \"example\"", "another --out"]);
    }
    // A sweep file of the user's, with this very name.
    fs::write(case.out().join("sweep.json"), sweep.to_string()).expect("our own file");
    for action in ACTIONS {
        refused(&case, action, &["no sweep's record", "another --out"]);
    }
}

#[test]
fn a_folder_of_a_run_is_left_alone() {
    let case = Case::new(&example());
    let config = write(case.folder.path(), &example()["base"]);
    finish(sobaya(&["run", text(&config), "--out", text(&case.out())])).well();
    for action in ACTIONS {
        refused(&case, action, &["holds a run", "another --out"]);
    }
}

#[test]
fn rows_of_the_table_are_not_lost_to_a_file_that_was_edited() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    let case = Case::new(&sweep);
    refused_empty(&case);
    case.run(&["run", "--member", "1"]).well();
    assert_eq!(case.run(&["collect"]).well().out, "1 of 3 members collected\n");
    let edited = |sweep: &serde_json::Value| {
        fs::write(&case.file, sweep.to_string()).expect("a writable folder");
    };
    let finished = case.plan()[1].hash.clone();
    sweep["grid"]["seed"] = json!([4, 5]);
    edited(&sweep);
    refused(&case, &["collect"], &[&finished, "no longer in the sweep file"]);
    // What is added, or was not finished, is no loss; the record is that of the file.
    sweep["grid"]["seed"] = json!([2, 5]);
    edited(&sweep);
    assert_eq!(case.run(&["collect"]).well().out, "1 of 2 members collected\n");
    let record = fs::read_to_string(case.out().join("sweep.json")).expect("a record");
    assert!(case.plan().iter().all(|member| record.contains(&member.hash)), "{record}");
    // A run says that the file is meant as it is.
    sweep["grid"]["seed"] = json!([5]);
    edited(&sweep);
    case.run(&[]).well();
    assert_eq!(case.run(&["collect"]).well().out, "1 of 1 members collected\n");
}

fn refused_empty(case: &Case) {
    let refused = case.run(&["collect"]);
    assert_eq!(refused.code, 5, "{}", refused.out);
    assert!(refused.err.contains("no member in"), "{}", refused.err);
    assert!(!case.out().exists());
}

#[test]
fn a_run_leaves_the_folder_of_a_sweep_alone() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    sweep["grid"]["seed"] = json!([1]);
    let case = Case::new(&sweep);
    case.run(&[]).well();
    let before = files(&case.out());
    let config = write(case.folder.path(), &example()["base"]);
    let start = Instant::now();
    let refused = finish(sobaya(&["run", text(&config), "--out", text(&case.out())]));
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(refused.err.contains("holds a sweep; give another --out"), "{}", refused.err);
    assert!(start.elapsed() < Duration::from_secs(30), "it has waited for the lock");
    assert!(before == files(&case.out()), "something was written");
}

#[test]
fn a_disk_that_is_full_is_said_and_leaves_the_collected_files_as_they_were() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    sweep["grid"]["seed"] = json!([1]);
    let case = Case::new(&sweep);
    case.run(&[]).well();
    case.run(&["collect"]).well();
    let before = fs::read(case.out().join("collected.h5")).expect("a file");
    let aside = case.out().join("collected.tmp");
    symlink("/dev/full", &aside).expect("a writable folder");
    let failed = case.run(&["collect"]);
    assert_eq!(failed.code, 5, "{}", failed.out);
    assert!(failed.err.contains("No space left"), "{}", failed.err);
    assert!(before == fs::read(case.out().join("collected.h5")).expect("a file"));
}

#[test]
fn what_a_run_writes_that_no_sweep_has_started_is_not_taken_away() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    sweep["grid"]["seed"] = json!([1]);
    let case = Case::new(&sweep);
    let folder = case.out().join(&case.plan()[0].hash);
    let (lock, _) = Lock::take(&folder).expect("a lock");
    fs::write(folder.join("log.journal"), "rows").expect("a writable folder");
    let failed = case.run(&[]);
    assert_eq!(failed.code, 5, "{}", failed.err);
    assert!(failed.err.contains("is in use by process"), "{}", failed.err);
    assert_eq!(fs::read(folder.join("log.journal")).expect("a file"), b"rows");
    drop(lock);
    case.run(&[]).well();
}
