//! One config gives the same bits on any number of ranks, as threads or over MPI.

mod process;

use std::fs;
use std::path::Path;

use process::{attribute, finish, log, mnist_small, mpirun, on_mpi, on_threads, plan, quadratic};
use process::{relaunch, role, sobaya, summary, text, write};
use serde_json::{Value, json};
use sobaya::data::Folder;

const ITERATIONS: u64 = 200;

/// Datasets of the log that depend on the number of ranks or on time.
fn may_differ(dataset: &str) -> bool {
    dataset == "wall_time" || dataset == "rank" || {
        ["time_", "wire_bytes_"].iter().any(|prefix| dataset.starts_with(prefix))
    }
}

/// Algorithms with their compressors; every registered one of either must be here.
fn methods() -> Vec<(&'static str, Value, Option<Value>)> {
    let theta = 0.2;
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    let multi_step = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k });
    let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
    let mixed = json!({ "x": rand_k, "y": top_k, "z": { "kind": "identity" } });
    let ef_soba = |momentum| json!({ "kind": "ef-soba", "theta": theta, "momentum": momentum });
    vec![
        ("soba", json!({ "kind": "soba", "rho": 5 }), None),
        ("c-soba", json!({ "kind": "c-soba" }), Some(multi_step.clone())),
        ("cm-soba", json!({ "kind": "cm-soba", "theta": theta }), Some(rand_k.clone())),
        ("ef-soba-server", ef_soba("server"), Some(rand_k)),
        ("ef-soba-worker", ef_soba("worker"), Some(mixed)),
        ("ef-soba-multi-step", ef_soba("server"), Some(multi_step)),
    ]
}

/// Every method on both problems in both precisions.
fn configs() -> Vec<Value> {
    let mut all = vec![];
    for (mut config, [alpha, beta, gamma], hypergradient) in [
        (mnist_small(), [0.1, 0.1, 0.1], json!(false)),
        (quadratic(), [0.002, 0.01, 0.01], json!(true)),
    ] {
        config["iterations"] = json!(ITERATIONS);
        config["evaluate"] = json!({ "every": 80, "hypergradient": hypergradient });
        for (name, algorithm, compressor) in methods() {
            for precision in ["f32", "f64"] {
                let mut config = config.clone();
                config["name"] = json!(format!("{}-{name}-{precision}", text_of(&config["name"])));
                config["precision"] = json!(precision);
                config["algorithm"] = algorithm.clone();
                for (key, step) in [("alpha", alpha), ("beta", beta), ("gamma", gamma)] {
                    config["algorithm"][key] = json!(step);
                }
                config["compressor"] = json!(compressor);
                all.push(config);
            }
        }
    }
    all
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// Everything in an output folder that must not depend on the number of ranks.
#[derive(PartialEq, Debug)]
struct Trace {
    state_hash: String,
    bytes: [u64; 2],
    last: Value,
    /// Name, shape and bits of each dataset.
    datasets: Vec<(String, Vec<usize>, Vec<u64>)>,
}

impl Trace {
    fn read(output: &Path) -> Self {
        let summary = summary(output);
        assert_eq!(summary["iterations"], json!(ITERATIONS), "{}", output.display());
        let log = log(output);
        assert_eq!(attribute(&log, "status"), "completed");
        let names = log.member_names().expect("names");
        let datasets = names.into_iter().filter(|name| !may_differ(name)).map(|name| {
            let shape = log.dataset(&name).expect("a dataset").shape();
            let bits = process::column(&log, &name).iter().map(|v| v.to_bits()).collect();
            (name, shape, bits)
        });
        Self {
            state_hash: text_of(&summary["state_hash"]).to_owned(),
            bytes: ["upload_bytes", "download_bytes"].map(|key| summary[key].as_u64().unwrap()),
            last: summary["final"].clone(),
            datasets: datasets.collect(),
        }
    }
}

#[test]
fn every_registered_kind_is_tried() {
    let methods = methods();
    let tried = |kind: &str| methods.iter().any(|(_, algorithm, _)| algorithm["kind"] == kind);
    for entry in sobaya::algorithms::registry().0 {
        assert!(tried(entry.kind), "add {} to `methods`", entry.kind);
    }
    let compressors: String = methods
        .iter()
        .map(|(.., compressor)| json!(compressor))
        .fold(String::new(), |all, compressor| all + &compressor.to_string());
    for entry in sobaya::compressors::registry().0 {
        assert!(compressors.contains(entry.kind), "add {} to `methods`", entry.kind);
    }
}

#[test]
fn ranks_change_no_bit() {
    let test = "ranks_change_no_bit";
    if let Some(output) = role() {
        on_mpi(|mut comm| {
            for config in configs() {
                let output = Path::new(&output).join(text_of(&config["name"]));
                sobaya::run::run(&plan(&config), &mut comm, &Folder::find(None), Some(&output))
                    .unwrap_or_else(|e| panic!("{config}: {e}"));
            }
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |ranks: &str| folder.path().join(ranks);
    let traces = |ranks: &str| -> Vec<Trace> {
        configs().iter().map(|c| Trace::read(&at(ranks).join(text_of(&c["name"])))).collect()
    };
    for threads in [1, 3] {
        for config in configs() {
            let name = text_of(&config["name"]);
            let output = at(&format!("threads {threads}")).join(name);
            let outcome = on_threads(&plan(&config), threads, Some(&output));
            let trace = Trace::read(&output);
            assert_eq!(trace.state_hash, format!("{:016x}", outcome.state_hash), "{name}");
            let traffic = outcome.traffic;
            assert_eq!(trace.bytes, [traffic.upload_bytes, traffic.download_bytes], "{name}");
        }
    }
    let expected = traces("threads 1");
    let mut hashes: Vec<_> = expected.iter().map(|trace| &trace.state_hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), expected.len(), "two configs ended in one state");
    let compare = |ranks: &str| {
        for (config, (trace, expected)) in configs().iter().zip(traces(ranks).iter().zip(&expected))
        {
            assert!(trace == expected, "{ranks}: {}: {trace:?}\n{expected:?}", config["name"]);
        }
    };
    compare("threads 3");
    for ranks in [1, 2, 3, 4, 8] {
        let name = format!("ranks {ranks}");
        fs::create_dir(at(&name)).expect("a folder");
        finish(relaunch(test, text(&at(&name)), ranks)).well();
        compare(&name);
    }
    println!("{} configs, {} datasets each", expected.len(), expected[0].datasets.len());
}

#[test]
fn the_program_gives_the_bits_of_the_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = mnist_small();
    let path = write(folder.path(), &config);
    let outcome = on_threads(&plan(&config), 2, None);
    for ranks in [0, 1, 3, 8] {
        let output = folder.path().join(ranks.to_string());
        let program = sobaya(&["run", text(&path), "--out", text(&output)]);
        finish(if ranks == 0 { program } else { mpirun(ranks, &program) }).well();
        let hash = format!("{:016x}", outcome.state_hash);
        assert_eq!(summary(&output)["state_hash"], json!(hash), "{ranks} ranks");
    }
}
