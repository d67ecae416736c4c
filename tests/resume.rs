//! Runs that are cut and resumed: the same bits as uncut ones.

mod process;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{
    attribute, copy, log, mnist_small, on_threads, plan, quadratic, run_on_threads, sets, summary,
};
use serde_json::{Value, json};
use sobaya::error::Error;
use sobaya::net::{NetError, StopReason};
use sobaya::run::{Options, Outcome, Resume};

const ITERATIONS: u64 = 40;

/// A short run with a checkpoint each 5 iterations, whatever they cost.
fn config() -> Value {
    let mut config = quadratic();
    config["iterations"] = json!(ITERATIONS);
    config["evaluate"] = json!({ "every": 7 });
    config["checkpoint"] = json!({ "every_iterations": 5, "cost": 1.0 });
    config
}

fn options(output: &Path) -> Options {
    Options::new(Some(output.to_owned()))
}

/// What a run on one rank comes to.
fn alone(config: &Value, options: impl Fn() -> Options + Sync) -> Result<Option<Outcome>, Error> {
    run_on_threads(&plan(config), 1, |_| options()).remove(0)
}

/// Runs until one rank is asked to stop, so many steps after its start; all ranks stop alike.
fn cut(config: &Value, ranks: usize, output: &Path, asked: usize, after: u64) {
    let results = run_on_threads(&plan(config), ranks, |rank| {
        let calls = Cell::new(0);
        let asked_to_stop = move || {
            calls.set(calls.get() + 1);
            (rank == asked && calls.get() > after).then_some(StopReason::User1)
        };
        Options { asked_to_stop: Box::new(asked_to_stop), ..options(output) }
    });
    let mut done: Vec<u64> = vec![];
    for result in results {
        match result {
            Err(Error::Stopped { reason: StopReason::User1, done: k, last: ITERATIONS }) => {
                done.push(k)
            }
            other => panic!("not stopped but {other:?}"),
        }
    }
    done.dedup();
    assert_eq!(done.len(), 1, "all ranks stop at one iteration");
    assert_eq!(attribute(&log(output), "status"), "stopped");
    assert_eq!(attribute(&log(output), "stop_reason"), "signal USR1");
    assert_eq!(summary(output)["status"], "stopped");
    assert_eq!(sets(output).last(), done.last());
}

/// That two logs are the same but for times and ranks.
fn assert_same_log(a: &Path, b: &Path) {
    let differences = sobaya::log::differences(a, b).expect("two logs");
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn a_run_that_is_stopped_goes_on_with_the_same_bits_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let uncut = folder.path().join("uncut");
    let whole = on_threads(&plan(&config()), 1, Some(&uncut));
    for (case, ranks) in [[1, 1, 1], [3, 2, 8], [2, 8, 3]].into_iter().enumerate() {
        let output = folder.path().join(format!("cut-{case}"));
        cut(&config(), ranks[0], &output, ranks[0] - 1, 0);
        cut(&config(), ranks[1], &output, 0, 11);
        let end = on_threads(&plan(&config()), ranks[2], Some(&output));
        assert_eq!((end.state_hash, end.traffic), (whole.state_hash, whole.traffic));
        assert_same_log(&uncut, &output);
        assert_eq!(summary(&output)["final"], summary(&uncut)["final"]);
        let part = process::column(&log(&output), "part");
        assert!(part.is_sorted() && part.ends_with(&[2.0]) && part.starts_with(&[0.0]));
    }
}

#[test]
fn every_way_to_travel_survives_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        json!({ "downlink": { "kind": "difference", "compressor": { "kind": "top-k", "ratio": 0.3 } } }),
        json!({ "compressor": { "kind": "rand-k", "ratio": 0.2, "shared": true },
                "downlink": { "kind": "sum" } }),
        json!({ "compressor": { "kind": "rand-k", "ratio": 0.2, "shared": true },
                "downlink": { "kind": "sum" }, "wire": { "collective": "segments" } }),
        json!({ "algorithm": { "kind": "f2sa", "alpha": 0.001, "beta": 0.01, "gamma": 0.001,
                "lambda": 10.0, "lambda_step": 0.01, "inner_steps": 3 } }),
        json!({ "algorithm": { "kind": "sparkle", "alpha": 0.002, "beta": 0.01, "gamma": 0.01,
                "strategy": { "x": "ed", "y": "extra", "z": "non-atc-gt" } },
                "mixing": { "lazy": true } }),
    ];
    for (case, changes) in cases.into_iter().enumerate() {
        let mut config = config();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        if config["algorithm"]["kind"] == "f2sa" {
            config.as_object_mut().unwrap().remove("compressor");
        }
        let [uncut, output] =
            ["uncut", "cut"].map(|name| folder.path().join(format!("{name}-{case}")));
        let whole = on_threads(&plan(&config), 2, Some(&uncut));
        cut(&config, 3, &output, 1, 12);
        let end = on_threads(&plan(&config), 2, Some(&output));
        assert_eq!(end.state_hash, whole.state_hash, "{config}");
        assert_same_log(&uncut, &output);
    }
}

/// A folder in which a run was stopped, with two sets.
fn stopped(folder: &Path) -> PathBuf {
    let output = folder.join("stopped");
    cut(&config(), 1, &output, 0, 17);
    assert_eq!(sets(&output).len(), 2);
    output
}

/// The newest manifest, changed and sealed again.
fn reseal(output: &Path, change: &dyn Fn(&mut Value)) {
    let newest = sets(output).pop().unwrap();
    let path = output.join(format!("checkpoint-{newest}/manifest.json"));
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("crc32c");
    change(&mut manifest);
    let mut body = manifest.to_string();
    body.pop();
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(path, format!("{body},\"crc32c\":\"{crc:08x}\"}}\n")).unwrap();
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let output = stopped(folder.path());
    let before = process::files(&output);
    let refused = |config: &Value, output: &Path, words: &[&str]| {
        let error = alone(config, || options(output)).expect_err("it is refused");
        assert_eq!(error.code(), 6, "{error}");
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    };
    let with = |key: &str, value: Value| {
        let mut config = config();
        match key.split_once('.') {
            Some((key, below)) => config[key][below] = value,
            None => config[key] = value,
        }
        config
    };
    refused(&with("precision", json!("f32")), &output, &["`precision`", "f64", "f32"]);
    refused(&with("workers", json!(9)), &output, &["`workers`", "8", "9"]);
    refused(&with("seed", json!(5)), &output, &["`seed`", "0", "5"]);
    refused(&with("algorithm.alpha", json!(0.5)), &output, &["`algorithm.alpha`", "0.002", "0.5"]);
    refused(&with("iterations", json!(5)), &output, &["5 are asked for"]);
    assert_eq!(process::files(&output), before);

    let scratch = folder.path().join("scratch");
    let resealed = |change: &dyn Fn(&mut Value), words: &[&str]| {
        copy(&output, &scratch);
        reseal(&scratch, change);
        refused(&config(), &scratch, words);
    };
    resealed(&|m| m["format"] = json!(99), &["format version", "99 there", "2 now"]);
    resealed(
        &|m| m["identity"]["precision"] = json!("f32"),
        &["`precision`", "f32 there", "f64 now"],
    );
    resealed(&|m| m["identity"]["dims"] = json!([40, 61, 61]), &["y 61", "y 60"]);
    resealed(&|m| m["identity"]["config"]["seed"] = json!(7), &["`seed`", "7 there", "0 now"]);
    // Only the program's version: the run goes on.
    copy(&output, &scratch);
    reseal(&scratch, &|m| m["program_version"] = json!("0.0.9"));
    alone(&config(), || options(&scratch)).expect("another version goes on");
}

#[test]
fn a_complete_run_is_left_alone_and_may_be_given_more_iterations() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, output] = ["whole", "grown"].map(|name| folder.path().join(name));
    let with = |iterations: u64, at_end: bool| {
        let mut config = config();
        config["iterations"] = json!(iterations);
        config["evaluate"]["every"] = json!(10);
        config["checkpoint"]["at_end"] = json!(at_end);
        config
    };
    on_threads(&plan(&with(40, false)), 1, Some(&whole));
    on_threads(&plan(&with(30, true)), 2, Some(&output));
    assert_eq!(sets(&output), [30]);
    let before = process::files(&output);
    assert_eq!(alone(&with(30, true), || options(&output)).expect("nothing to do"), None);
    assert_eq!(process::files(&output), before);
    let error = alone(&with(20, true), || options(&output)).expect_err("it is further");
    assert_eq!(
        (error.code(), error.to_string().contains("made 30 iterations")),
        (6, true),
        "{error}"
    );
    on_threads(&plan(&with(40, false)), 2, Some(&output));
    assert!(sets(&output).is_empty());
    assert_same_log(&whole, &output);
    let error = alone(&with(50, true), || options(&output)).expect_err("nothing to go on from");
    assert_eq!(error.code(), 6, "{error}");
}

#[test]
fn never_and_must_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let output = stopped(folder.path());
    let with = |resume, output: &Path| alone(&config(), || Options { resume, ..options(output) });
    assert_eq!(with(Resume::Never, &output).expect_err("it holds a run").code(), 5);
    let empty = folder.path().join("empty");
    assert_eq!(with(Resume::Must, &empty).expect_err("it holds none").code(), 6);
    with(Resume::Must, &output).expect("there is a checkpoint");
}

#[test]
fn a_run_without_a_checkpoint_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = stopped(folder.path());
    for set in sets(&output) {
        fs::remove_dir_all(output.join(format!("checkpoint-{set}"))).unwrap();
    }
    // A remnant of a set that was never sealed.
    fs::create_dir(output.join("checkpoint-25")).unwrap();
    fs::write(output.join("checkpoint-25/part-0000"), b"half").unwrap();
    let uncut = folder.path().join("uncut");
    on_threads(&plan(&config()), 1, Some(&uncut));
    on_threads(&plan(&config()), 1, Some(&output));
    assert_same_log(&uncut, &output);
    assert_eq!(sets(&output), [ITERATIONS]);
}

#[test]
fn a_time_limit_stops_each_part_before_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("limited");
    let mut config = config();
    config["checkpoint"] = json!({});
    let mut at = 0;
    for part in 0..3 {
        // A clock on which each look takes a second.
        let limited = || {
            let seconds = Cell::new(0);
            let now = move || {
                seconds.set(seconds.get() + 1);
                Duration::from_secs(seconds.get())
            };
            Options {
                now: Box::new(now),
                max_time: Some(Duration::from_secs(16)),
                ..options(&output)
            }
        };
        match alone(&config, limited) {
            Err(Error::Stopped { reason: StopReason::TimeLimit, done, .. }) => {
                assert!(done > at && done < at + 16, "part {part} went from {at} to {done}");
                at = done;
            }
            other => panic!("part {part}: {other:?}"),
        }
    }
    let uncut = folder.path().join("uncut");
    on_threads(&plan(&config), 1, Some(&uncut));
    on_threads(&plan(&config), 1, Some(&output));
    assert_same_log(&uncut, &output);
}

#[test]
fn a_stop_file_stops_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    fs::create_dir(&output).unwrap();
    fs::write(output.join("STOP"), b"").unwrap();
    let stopped = alone(&config(), || options(&output)).expect_err("it is asked to stop");
    assert!(matches!(stopped, Error::Stopped { reason: StopReason::StopFile, done: 1, .. }));
    assert_eq!((stopped.code(), output.join("STOP").exists()), (75, false));
    alone(&config(), || options(&output)).expect("it goes on");
}

#[test]
fn a_stop_file_that_stays_stops_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    fs::create_dir_all(output.join("STOP")).unwrap();
    let stopped = alone(&config(), || options(&output)).expect_err("it is asked to stop");
    assert_eq!((stopped.code(), output.join("STOP").exists()), (75, true), "{stopped}");
    assert_eq!(attribute(&log(&output), "status"), "stopped");
}

#[test]
fn every_node_writes_its_own_part() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("nodes");
    let on_nodes = |config: &Value, stop: bool| {
        run_on_threads(&plan(config), 5, |rank| Options {
            node: format!("node {}", rank % 2),
            asked_to_stop: Box::new(move || (stop && rank == 4).then_some(StopReason::Terminate)),
            ..options(&output)
        })
    };
    assert!(on_nodes(&config(), true).iter().all(Result::is_err));
    let set = output.join(format!("checkpoint-{}", sets(&output)[0]));
    assert!(set.join("part-0000").exists() && set.join("part-0001").exists());
    let uncut = folder.path().join("uncut");
    let whole = on_threads(&plan(&config()), 1, Some(&uncut));
    let end = on_threads(&plan(&config()), 3, Some(&output));
    assert_eq!(end.state_hash, whole.state_hash);
    assert_same_log(&uncut, &output);
}

#[test]
fn divergence_keeps_the_last_good_set() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let mut config = config();
    config["iterations"] = json!(4000);
    config["algorithm"]["alpha"] = json!(1e3);
    let error = alone(&config, || options(&output)).expect_err("it diverges");
    assert_eq!(error.code(), 4, "{error}");
    assert!(error.to_string().contains("iteration "), "{error}");
    assert_eq!(sets(&output).len(), 2);
    let again = alone(&config, || options(&output)).expect_err("it diverges again");
    assert_eq!((again.code(), again.to_string()), (4, error.to_string()));
    // What a rank has sent by the last row is not known.
    let sent: Vec<i64> = log(&output).dataset("wire_bytes_up").unwrap().read_raw().unwrap();
    assert_eq!(sent.last(), Some(&-1));
    assert!(sent[..sent.len() - 1].iter().all(|&sent| sent >= 0));
}

/// The ranks that found nothing go on to the checkpoint when the root hears of a direction that is not finite.
#[test]
fn divergence_before_a_checkpoint_ends_every_rank() {
    let mut config = mnist_small();
    config["problem"]["activation"] = json!("relu");
    config["algorithm"]["alpha"] = json!(1e30);
    config["evaluate"] = json!({ "every": 1_000_000 });
    config["checkpoint"] = json!({ "every_iterations": 1, "cost": 1.0 });
    for ranks in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let results = run_on_threads(&plan(&config), ranks, |_| options(folder.path()));
        for (rank, result) in results.into_iter().enumerate() {
            match (rank, result.expect_err("it diverges")) {
                (0, Error::Net(NetError::Worker(words))) => {
                    assert!(words.contains("the direction of x is not finite"), "{words}")
                }
                (1.., Error::Net(NetError::Elsewhere)) => (),
                (_, other) => panic!("rank {rank} of {ranks}: {other:?}"),
            }
        }
        assert!(!sets(folder.path()).is_empty());
    }
}
