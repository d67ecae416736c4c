//! Members that diverge after they have left checkpoints.

use std::fs;

use serde_json::json;

use crate::case::{Case, example};
use crate::process::{LIMIT, sets, start, until};

/// A sweep of a member that diverges, and of one that takes a moment.
fn case() -> Case {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    sweep["base"]["iterations"] = json!(400);
    sweep["base"]["checkpoint"] = json!({ "every_iterations": 10, "cost": 1 });
    sweep["grid"] = json!({ "algorithm.beta": [5, 0.01] });
    Case::new(&sweep)
}

#[test]
fn what_diverged_is_redone_from_the_start() {
    let case = case();
    let folder = case.out().join(&case.plan()[0].hash);
    assert_eq!(case.run(&[]).code, 4);
    let left = sets(&folder);
    assert!(!left.is_empty());
    // As if it had left others.
    let marked = folder.join(format!("checkpoint-{}/mark", left[0]));
    fs::write(&marked, "").expect("our own folder");
    let redone = case.run(&["--redo"]);
    assert_eq!(redone.code, 4, "{}", redone.err);
    let said = fs::read_to_string(folder.join("stderr")).expect("a file");
    assert!(said.contains("diverge") && !said.contains("resumed"), "{said}");
    assert!(!marked.exists());
}

#[test]
fn what_another_task_saw_diverge_is_not_run_again() {
    let case = case();
    let folder = case.out().join(&case.plan()[0].hash);
    assert_eq!(case.run(&["run", "--member", "0"]).code, 4);
    let failure = fs::read(folder.join("failure.json")).expect("a file");
    for name in ["failure.json", "stderr"] {
        fs::remove_file(folder.join(name)).expect("a file");
    }
    let lock = fs::File::open(folder.join("member.lock")).expect("a file");
    lock.lock().expect("a lock");
    let running = start(case.command(&[]));
    until("the other member's end", LIMIT, || case.completed() == 1);
    fs::write(folder.join("failure.json"), failure).expect("our own folder");
    drop(lock);
    let ended = running.finish();
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("1 of 2 members diverged"), "{}", ended.err);
    assert!(!folder.join("stderr").exists(), "it was run again");
}
