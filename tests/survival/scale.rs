//! Many workers, many ranks, many iterations.

use serde_json::{Value, json};

use crate::process::{
    self, finish, memory, mpirun, quadratic, report, sobaya, start, summary, text, trials, write,
};

fn config(workers: usize, iterations: u64) -> Value {
    let mut config = quadratic();
    config["workers"] = json!(workers);
    config["iterations"] = json!(iterations);
    config["problem"] =
        json!({ "kind": "quadratic", "dim_upper": 40, "dim_lower": 60, "noise": 0.1 });
    config["log"] = json!({ "every": 20 });
    config
}

/// The hash of a run on one rank.
fn alone(folder: &std::path::Path, config: &Value) -> (Value, u64) {
    let path = write(folder, config);
    let output = folder.join("alone");
    finish(sobaya(&["run", text(&path), "--out", text(&output)])).well();
    let summary = summary(&output);
    (summary["state_hash"].clone(), summary["peak_rss_bytes"].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn thousands_of_workers_in_a_process_are_those_of_many_ranks() {
    let workers = 4096;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(workers, 200);
    let (hash, peak) = alone(folder.path(), &config);
    assert!(peak < 1 << 30, "peak memory {peak}");
    let ranks = trials(4, 8);
    let output = folder.path().join("ranks");
    let program =
        sobaya(&["run", text(&folder.path().join("config.json")), "--out", text(&output)]);
    finish(mpirun(ranks, &program)).well();
    assert_eq!(summary(&output)["state_hash"], hash);
    let seen = format!("same bits on 1 and {ranks} ranks, peak memory {} MB", peak >> 20);
    report("4,096 logical workers in one process, 200 iterations", 1, &seen);
}

#[test]
fn many_ranks_are_one() {
    let ranks = trials(16, 64);
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(64, 50);
    let (hash, _) = alone(folder.path(), &config);
    let output = folder.path().join("ranks");
    let program =
        sobaya(&["run", text(&folder.path().join("config.json")), "--out", text(&output)]);
    finish(mpirun(ranks, &program)).well();
    assert_eq!(summary(&output)["state_hash"], hash);
    report(&format!("{ranks} MPI ranks"), 1, "the same bits as one rank");
}

#[test]
fn memory_stays_where_it_is_for_a_long_time() {
    let iterations = trials(0, 100_000) as u64;
    if iterations == 0 {
        return println!("skipped: tests/memory_growth.rs has the short form");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(8, iterations);
    config["log"] = json!({ "every": 1000 });
    config["evaluate"] = json!({ "every": 1000 });
    config["checkpoint"] = json!({ "every_iterations": 500, "cost": 1.0 });
    let path = write(folder.path(), &config);
    let output = folder.path().join("out");
    let mut running = start(sobaya(&["run", text(&path), "--out", text(&output)]));
    let mut resident = vec![];
    while running.is_running() {
        if output.join("log.h5").exists() && !output.join("summary.json").exists() {
            resident.extend(memory(running.id(), "VmRSS"));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.finish().well();
    let count = resident.len();
    assert!(count > 50, "{count} samples are too few");
    let median = |samples: &[u64]| {
        let mut samples = samples.to_vec();
        samples.sort_unstable();
        samples[samples.len() / 2]
    };
    let early = median(&resident[count / 5..2 * count / 5]);
    let late = median(&resident[4 * count / 5..]);
    let grown = late.saturating_sub(early);
    assert!(grown < 1 << 20, "grown by {grown} bytes");
    let seen = format!("resident memory grew by {} kB", grown >> 10);
    report(&format!("{iterations} iterations with checkpoints"), 1, &seen);
    let _ = process::LIMIT;
}
