//! Sweeps: what they plan, and that nothing that happens to them is seen in what they leave.

mod case;
mod diverged;
mod folders;
mod members;
#[path = "../process/mod.rs"]
mod process;
mod stops;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use case::{Case, example};
use process::{LIMIT, Running, descendants, files, finish, is_alive, start, text, until};
use serde_json::{Value, json};

/// Time in which every process of a sweep is gone once it was told to end, or killed.
const PROMISE: Duration = Duration::from_secs(5);

fn algorithm(kind: &str) -> Value {
    json!({ "kind": kind, "alpha": 0.002, "beta": 0.01, "gamma": 0.01 })
}

fn settings(case: &Case) -> Vec<Value> {
    case.plan().into_iter().map(|member| member.settings.into()).collect()
}

#[test]
fn keys_of_the_grid_without_use_are_dropped_and_equal_configs_merged() {
    let mut sweep = example();
    sweep["base"].as_object_mut().expect("an object").remove("compressor");
    let (identity, rand_k) =
        (json!({ "kind": "identity" }), json!({ "kind": "rand-k", "ratio": 0.5 }));
    sweep["grid"] = json!({ "algorithm": [algorithm("soba"), algorithm("ef-soba")],
        "algorithm.theta": [0.1, 0.2], "compressor": [identity, rand_k], "compressor.ratio": [0.1, 0.2],
        "feedback": [{ "kind": "ef21" }, { "kind": "memory" }] });
    let case = Case::new(&sweep);
    let plan = case.plan();
    // soba once; ef-soba with two thetas, two feedbacks, and identity or one of two ratios.
    assert_eq!(plan.len(), 1 + 2 * 2 * 3);
    assert_eq!(json!(plan[0].settings), json!({ "algorithm": algorithm("soba") }));
    for member in &plan {
        let resolved = &member.plan.resolved;
        let given = &member.settings;
        assert_eq!(resolved["name"], json!(format!("example-{}", member.hash)));
        assert_eq!(member.hash, member.plan.outcome_sha256_hex()[..12]);
        assert_eq!(given.get("compressor.ratio"), resolved["compressor"].get("ratio"));
        assert_eq!(given.get("algorithm.theta"), resolved["algorithm"].get("theta"));
    }
}

#[test]
fn every_entry_of_the_list_meets_the_whole_grid() {
    let mut sweep = example();
    sweep["base"].as_object_mut().expect("an object").remove("compressor");
    sweep["set"] = json!({ "problem.dim_upper": 5 });
    sweep["list"] = json!([{ "algorithm": algorithm("soba"), "algorithm.alpha": 0.003 },
        { "compressor.kind": "rand-k" }]);
    sweep["grid"] = json!({ "compressor.ratio": [0.1, 0.2], "seed": [1, 2] });
    let case = Case::new(&sweep);
    let rand_k = |ratio: f64, seed: u64| json!({ "compressor.kind": "rand-k", "compressor.ratio": ratio, "seed": seed });
    let soba = |seed: u64| json!({ "algorithm": algorithm("soba"), "algorithm.alpha": 0.003, "seed": seed });
    let expected =
        [soba(1), soba(2), rand_k(0.1, 1), rand_k(0.1, 2), rand_k(0.2, 1), rand_k(0.2, 2)];
    assert_eq!(settings(&case), expected);
    let first = &case.plan()[0].plan.resolved;
    assert_eq!(first["algorithm"]["alpha"], json!(0.003));
    assert_eq!(first["problem"]["dim_upper"], json!(5));
}

#[test]
fn keys_that_are_set_in_all_members_outlive_the_objects_that_hold_them() {
    let mut sweep = example();
    sweep["base"].as_object_mut().expect("an object").remove("compressor");
    sweep["set"] = json!({ "algorithm.rho": 0.5, "algorithm.theta": 0.3, "algorithm.beta": 7,
        "compressor": { "kind": "rand-k" }, "compressor.ratio": 0.2 });
    let own = json!({ "kind": "top-k", "ratio": 0.4 });
    sweep["list"] = json!([{ "algorithm": algorithm("soba") }, { "algorithm": algorithm("ef-soba") },
        { "algorithm": algorithm("ef-soba"), "compressor": own }]);
    sweep["grid"] = json!({});
    let members: Vec<Value> =
        Case::new(&sweep).plan().into_iter().map(|member| member.plan.resolved).collect();
    let of = |pointer: &str| -> Vec<Option<&Value>> {
        members.iter().map(|member| member.pointer(pointer)).collect()
    };
    // soba has no theta, and sends everything as it is.
    assert_eq!(of("/algorithm/rho"), [Some(&json!(0.5)); 3]);
    assert_eq!(of("/algorithm/beta"), [Some(&json!(0.01)); 3]);
    assert_eq!(of("/algorithm/theta"), [None, Some(&json!(0.3)), Some(&json!(0.3))]);
    assert_eq!(of("/compressor/ratio"), [None, Some(&json!(0.2)), Some(&json!(0.4))]);
}

#[test]
fn wrong_sweeps_write_nothing() {
    let cases: [(&str, Value, &[&str]); 13] = [
        (
            "set",
            json!({ "iteratons": 5 }),
            &["no member", "`iteratons` of `set`", "\"iterations\""],
        ),
        ("set", json!({ "a..b": 5 }), &["`a..b`", "empty part"]),
        ("grdi", json!({}), &["`grdi`", "did you mean \"grid\"?"]),
        ("name", json!("a/b"), &["`name`", "a/b"]),
        ("base", json!("nowhere.json"), &["nowhere.json"]),
        ("ranks", json!(0), &["`ranks`", "found 0"]),
        ("grid", json!({ "seed": 1 }), &["`grid.seed`", "list"]),
        ("grid", json!({ "name": ["a"] }), &["`grid.name`"]),
        (
            "grid",
            json!({ "algorithm.alhpa": [1, 2] }),
            &["no member", "`algorithm.alhpa`", "\"alpha\""],
        ),
        (
            "grid",
            json!({ "seed": [1], "algorithm.alpha": [0.1, -1] }),
            &["algorithm.alpha=-1", "seed=1"],
        ),
        ("list", json!([{ "algorithm.alhpa": 1 }]), &["algorithm.alhpa=1", "unknown key"]),
        ("list", json!([{ "seed": 1 }]), &["`list[0].seed`", "grid"]),
        (
            "list",
            json!([{ "algorithm": algorithm("soba") }]),
            &["`compressor`", "uncompressed", "grid"],
        ),
    ];
    for (key, value, words) in cases {
        let mut sweep = example();
        sweep[key] = value;
        Case::new(&sweep).is_refused(2, words);
    }
}

/// The members' table and log, timings aside.
fn collected(case: &Case) -> (Vec<Vec<String>>, BTreeMap<String, Vec<u64>>) {
    case.run(&["collect"]).well();
    let csv = fs::read_to_string(case.out().join("summary.csv")).expect("a table");
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    // Times, and what tells of the parts of a run.
    let timing = |title: &str| {
        ["seconds", "peak_rss_bytes", "checkpoints"].iter().any(|words| title.contains(words))
    };
    let kept: Vec<usize> = (0..rows[0].len()).filter(|&at| !timing(rows[0][at])).collect();
    let rows = rows.iter().map(|row| kept.iter().map(|&at| row[at].to_owned()).collect());

    let file = hdf5::File::open(case.out().join("collected.h5")).expect("a file");
    let mut numbers = BTreeMap::new();
    for group in file.groups().expect("groups") {
        for dataset in group.datasets().expect("datasets") {
            if !["time", "wire_bytes", "/part"].iter().any(|words| dataset.name().contains(words)) {
                let values: Vec<f64> = dataset.read_raw().expect("numbers");
                numbers.insert(dataset.name(), values.into_iter().map(f64::to_bits).collect());
            }
        }
    }
    (rows.collect(), numbers)
}

/// A sweep of so many runs, each of which takes a moment.
fn many(runs: usize) -> Value {
    let mut sweep = example();
    sweep["base"]["iterations"] = json!(500);
    sweep["base"]["log"] = json!({ "every": 100 });
    sweep["grid"]["seed"] = (0..runs).collect();
    sweep
}

/// Waits until a sweep and all that it started is gone.
fn is_gone(running: &mut Running, ids: &[u32], since: Instant) {
    until("the sweep's end", PROMISE, || !running.is_running());
    until("its children's end", PROMISE, || !ids.iter().any(|&id| is_alive(id)));
    println!("{:.2?} later its {} processes are gone", since.elapsed(), ids.len());
}

#[test]
fn a_sweep_killed_at_any_moment_and_started_again_leaves_the_same() {
    let whole = Case::new(&many(24));
    whole.run(&["--local", "4"]).well();
    let broken = Case::new(&many(24));
    let nanos = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").subsec_nanos();
    for (least, moment) in [(1, nanos as u64 % 200), (8, nanos as u64 / 200 % 200)] {
        let mut running = start(broken.command(&["--local", "4"]));
        until("completed members", LIMIT, || broken.completed() >= least);
        std::thread::sleep(Duration::from_millis(moment));
        let ids = descendants(running.id());
        process::kill(running.id());
        let since = Instant::now();
        let again = start(broken.command(&["status"]));
        is_gone(&mut running, &ids, since);
        again.finish().well();
        let completed = broken.completed();
        println!("killed {moment} ms after member {least}: {completed} of 24 completed");
        assert!((least..24).contains(&completed), "killed when {completed} of 24 were completed");
    }
    broken.run(&["--local", "4"]).well();
    for member in broken.plan() {
        let failure = broken.out().join(member.hash).join("failure.json");
        assert!(!failure.exists(), "an interruption counts as a failure");
    }
    assert_eq!(fs::read_dir(broken.temporary()).expect("a folder").count(), 0, "left behind");
    let (rows, numbers) = collected(&broken);
    assert_eq!((rows.len(), rows[0][0].as_str()), (25, "hash"));
    assert!(numbers.len() >= 24 * 15, "{} datasets", numbers.len());
    assert!((rows, numbers) == collected(&whole));
}

#[test]
fn ctrl_c_ends_every_child_and_one_sweep_at_a_time_has_a_folder() {
    let mut sweep = many(4);
    sweep["ranks"] = json!(2);
    let case = Case::new(&sweep);
    let mut running = start(case.command(&["--local", "2"]));
    until("a completed member", LIMIT, || case.completed() > 0);
    let second = case.run(&[]);
    assert_eq!(second.code, 5, "{}", second.err);
    assert!(second.err.contains("in use by process"), "{}", second.err);
    let ids = descendants(running.id());
    // SAFETY: a signal to a process that this test has started.
    unsafe { libc::kill(running.id() as libc::pid_t, libc::SIGINT) };
    is_gone(&mut running, &ids, Instant::now());
    let stopped = running.finish();
    assert_eq!(stopped.code, 75, "{}", stopped.err);
    assert!(stopped.err.contains("the same command goes on"), "{}", stopped.err);

    let completed = case.completed();
    let done = case.run(&[]).well();
    assert_eq!(done.out, format!("4 members finished, {completed} of them before\n"));
    let before = files(&case.out());
    assert_eq!(case.run(&[]).well().out, "4 members finished, 4 of them before\n");
    let changed = |path: &Path| !path.ends_with("out/lock");
    assert!(
        files(&case.out())
            .into_iter()
            .all(|(path, bytes)| !changed(&path) || before[&path] == bytes)
    );
}

#[test]
fn a_job_array_runs_what_is_unfinished() {
    let mut sweep = example();
    sweep["launcher"] = json!([]);
    let case = Case::new(&sweep);
    let hashes: Vec<String> = case.plan().into_iter().map(|member| member.hash).collect();
    case.run(&["run", "--member", &hashes[1]]).well();

    let bin = case.folder.path().join("it's a bin");
    fs::create_dir(&bin).expect("a writable folder");
    let lonely = finish({
        let mut command = case.command(&["--slurm"]);
        command.env("PATH", &bin);
        command
    });
    assert_eq!(lonely.code, 2, "{}", lonely.err);
    assert!(lonely.err.contains("array.sbatch"), "{}", lonely.err);

    let sbatch = bin.join("sbatch");
    let tasks = "#!/bin/bash\nset -e\nlast=$(sed -n 's/^#SBATCH --array=0-//p' \"$1\")\n\
                 for ((i = 0; i <= last; i++)); do SLURM_ARRAY_TASK_ID=$i bash \"$1\"; done\n\
                 echo \"Submitted $((last + 1)) tasks\"\n";
    fs::write(&sbatch, tasks).expect("a writable folder");
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).expect("our own file");
    let path = format!("{}:{}", text(&bin), std::env::var("PATH").unwrap_or_default());
    for answer in ["Submitted 2 tasks\n", "every member is finished\n"] {
        let mut command = case.command(&["--slurm"]);
        command.env("PATH", &path);
        assert_eq!(finish(command).well().out, answer);
        assert_eq!(case.completed(), 3);
    }
    // More tasks than an array may have; three are done.
    sweep["grid"]["seed"] = (0..1004).collect();
    fs::write(&case.file, sweep.to_string()).expect("a writable folder");
    let count = "#!/bin/bash\ngrep -c '^    [0-9a-f]\\{12\\}$' \"$1\"\n\
                 sed -n 's/^#SBATCH --array/array/p' \"$1\"\n\
                 grep -o '[-]-redo' \"$1\"; basename \"$1\"\n";
    fs::write(&sbatch, count).expect("our own file");
    let submitted = finish({
        let mut command = case.command(&["--slurm", "--redo"]);
        command.env("PATH", &path);
        command
    });
    let pieces =
        ["1000\narray=0-999\n--redo\narray.sbatch", "1\narray=0-0\n--redo\narray-2.sbatch"];
    assert_eq!(submitted.well().out, pieces.join("\n") + "\n");
    // A task that is requeued when its member is finished.
    case.run(&["run", "--member", "2"]).well();
    assert_eq!(case.run(&["run", "--member", "x"]).code, 2);
}
