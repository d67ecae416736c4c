//! Members that diverge, fail, cannot be started, or were made by another program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::case::{Case, example};
use crate::process::{LIMIT, files, finish, start, text, until};

#[test]
fn a_member_that_diverges_is_named_and_kept_like_the_rest_unless_told_otherwise() {
    let mut sweep = example();
    sweep["grid"] = json!({ "algorithm.beta": [1e200, 0.001, 0.002] });
    let case = Case::new(&sweep);
    let hash = case.plan()[0].hash.clone();
    let failed = case.run(&["--local", "2"]);
    assert_eq!(failed.code, 4, "{}", failed.err);
    for words in [&hash, "exit code 4: algorithm.beta=1e+200", "diverge", "1 of 3 members diverged"]
    {
        assert!(failed.err.contains(words), "{words}: {}", failed.err);
    }
    assert_eq!(case.run(&["collect"]).well().out, "2 of 3 members collected\n");
    let others = |case: &Case| -> BTreeMap<_, _> {
        let all = files(&case.out()).into_iter();
        all.filter(|(path, _)| !path.to_string_lossy().contains(&hash) && !path.ends_with("lock"))
            .collect()
    };
    let before = others(&case);
    let whole = files(&case.out());
    let again = case.run(&[]);
    assert_eq!(again.code, 4, "{}", again.err);
    assert!(again.err.contains("1 of 3 members diverged, which --redo runs again"));
    let untouched = |path: &Path| path.ends_with("out/lock") || path.ends_with("out/sweep.json");
    for (path, bytes) in files(&case.out()) {
        assert!(untouched(&path) || whole[&path] == bytes, "{} has changed", path.display());
    }
    assert_eq!(case.run(&["run", "--member", &hash]).code, 4);
    let redone = case.run(&["--redo"]);
    assert_eq!(redone.code, 4, "{}", redone.err);
    assert!(redone.err.contains(&format!("member {hash} failed with exit code 4")));
    assert!(before == others(&case), "what was finished has changed");
    let status = case.run(&["status"]).well().out;
    assert!(status.contains("3 members: 2 finished, 1 diverged"), "{status}");
    assert!(
        status.lines().any(|line| line.starts_with(&hash) && line.contains("exit 4")),
        "{status}"
    );
}

#[test]
fn a_member_that_fails_otherwise_is_tried_again_by_the_next_call() {
    let mut sweep = example();
    // A launcher that fails for one seed until there is a file.
    let script = r#"grep -q '"seed": 1' "$3" && [ ! -e mended ] && exit 3; exec "$@""#;
    sweep["launcher"] = json!(["bash", "-c", script, "launch"]);
    sweep["grid"] = json!({ "algorithm.beta": [1e200, 0.001], "seed": [2, 1] });
    let case = Case::new(&sweep);
    let failed = case.run(&["--local", "2"]);
    // The first one has diverged.
    assert_eq!(failed.code, 3, "{}", failed.err);
    for words in ["2 of 4 members failed, which the next", "1 of 4 members diverged"] {
        assert!(failed.err.contains(words), "{words}: {}", failed.err);
    }
    fs::write(case.folder.path().join("mended"), "").expect("a writable folder");
    let mended = case.run(&["--local", "2"]);
    assert_eq!(mended.code, 4, "{}", mended.err);
    assert!(mended.err.contains("2 of 4 members diverged"), "{}", mended.err);
    let status = case.run(&["status"]).well().out;
    assert!(status.contains("4 members: 2 finished, 2 diverged"), "{status}");
}

#[test]
fn a_member_that_cannot_be_started_keeps_no_other_from_running() {
    let case = Case::new(&example());
    let plan = case.plan();
    // No folder can be where a file is.
    fs::create_dir(case.out()).expect("a writable folder");
    let file = case.out().join(&plan[0].hash);
    fs::write(&file, "").expect("a writable folder");
    // Another process has the second one for a while.
    let busy = case.out().join(&plan[1].hash);
    fs::create_dir(&busy).expect("a writable folder");
    let lock = fs::File::create(busy.join("member.lock")).expect("a writable folder");
    lock.lock().expect("a lock");
    let running = start(case.command(&[]));
    until("the third member's end", LIMIT, || case.completed() == 1);
    drop(lock);
    let failed = running.finish();
    assert_eq!((failed.code, case.completed()), (5, 2), "{}", failed.err);
    for words in [text(&file), "1 of 3 members failed"] {
        assert!(failed.err.contains(words), "{words}: {}", failed.err);
    }
    fs::remove_file(&file).expect("our own file");
    case.run(&[]).well();
}

#[test]
fn what_cannot_be_written_or_started_is_named() {
    let case = Case::new(&example());
    let nowhere = case.folder.path().join("nowhere");
    let mut command = case.command(&["run", "--member", "0"]);
    command.env("TMPDIR", &nowhere);
    let failed = finish(command);
    assert_eq!(failed.code, 5, "{}", failed.err);
    assert!(failed.err.contains(&format!("{}/sobaya-", nowhere.display())), "{}", failed.err);
    assert!(!failed.err.contains("launcher"), "{}", failed.err);

    let mut sweep = example();
    sweep["launcher"] = json!(["no-such-launcher"]);
    let failed = Case::new(&sweep).run(&[]);
    assert_eq!(failed.code, 2, "{}", failed.err);
    let [message] = failed.messages()[..] else { panic!("{}", failed.err) };
    assert!(message.contains("cannot start no-such-launcher"), "{message}");
}

#[test]
fn members_of_another_program_or_data_folder_are_kept_and_spoken_of() {
    let case = Case::new(&example());
    case.run(&["--local", "3"]).well();
    assert_eq!(case.run(&[]).well().err, "");
    let origin = |at: usize| case.out().join(&case.plan()[at].hash).join("origin.json");
    let mut other: Value =
        serde_json::from_slice(&fs::read(origin(0)).expect("a file")).expect("JSON");
    let data = case.folder.path().canonicalize().expect("a folder").join("data");
    assert_eq!(other["data"], json!(data));
    other["executable_xxh3"] = json!("0123456789abcdef");
    fs::write(origin(0), other.to_string()).expect("our own file");
    fs::remove_file(origin(1)).expect("our own file");

    let kept = case.run(&[]).well();
    for words in ["2 of 3 members are kept", "executable 0123456789abcdef, data", "1 by an unknown"]
    {
        assert!(kept.err.contains(words), "{words}: {}", kept.err);
    }
    let elsewhere = case.run(&["--data", "elsewhere"]).well();
    assert!(elsewhere.err.contains("3 of 3 members are kept"), "{}", elsewhere.err);
    case.run(&["collect"]).well();
    let table = fs::read_to_string(case.out().join("summary.csv")).expect("a table");
    let at = table.lines().next().and_then(|line| line.split(',').position(|t| t == "program"));
    let cell = |row: usize| table.lines().nth(1 + row)?.split(',').nth(at?);
    assert!(cell(0).is_some_and(|cell| cell.ends_with("executable 0123456789abcdef")), "{table}");
    assert_eq!(cell(1), Some(""), "{table}");

    let redone = case.run(&["--redo"]).well();
    assert_eq!(redone.out, "3 members finished, 1 of them before\n");
    assert_eq!(case.run(&["--redo"]).well().out, "3 members finished, 3 of them before\n");
    assert_eq!(case.run(&[]).well().err, "");
}
