//! One config gives the same bits on any number of ranks, as threads or over MPI.

mod common;
mod process;

use std::fs;
use std::path::Path;

use common::methods::{apply, methods, suits};
use common::regularization_examples;
use process::{
    attribute, finish, in_full, log, mnist_small, mpirun, on_mpi, on_threads, plan, quadratic,
};
use process::{relaunch, role, sobaya, summary, text, write};
use serde_json::{Value, json};
use sobaya::comm::Comm;
use sobaya::data::Folder;
use sobaya::run::Options;

const ITERATIONS: u64 = 200;

/// Datasets of the log that depend on the number of ranks or on time.
fn may_differ(dataset: &str) -> bool {
    dataset == "wall_time" || dataset == "rank" || {
        ["time_", "wire_bytes_"].iter().any(|prefix| dataset.starts_with(prefix))
    }
}

/// Methods that only differ in how the same numbers travel: each group ends in one state.
fn alike() -> Vec<Vec<(&'static str, Value)>> {
    let soba = json!({ "algorithm": { "kind": "soba", "rho": 5 } });
    let amigo = json!({ "algorithm": { "kind": "amigo", "inner_steps": 3, "linear_steps": 2 } });
    let shared = json!({ "kind": "rand-k", "ratio": 0.1, "shared": true });
    let c_soba = json!({ "algorithm": { "kind": "c-soba" }, "compressor": shared });
    let with = |method: &Value, downlink: &str, collective: &str| {
        let mut method = method.clone();
        method["downlink"] = json!({ "kind": downlink });
        method["wire"] = json!({ "collective": collective });
        method
    };
    [soba, c_soba, amigo]
        .map(|method| {
            vec![
                ("dense", with(&method, "dense", "star")),
                ("sum", with(&method, "sum", "star")),
                ("segments", with(&method, "sum", "segments")),
            ]
        })
        .into()
}

/// A problem whose x travels on the mini-batch alone.
fn hyper_cleaning() -> Value {
    let mut config = mnist_small();
    config["name"] = json!("cleaning");
    config["problem"] = json!({ "kind": "hyper-cleaning", "dataset": "mnist-small",
        "samples": 2000, "batch_lower": 8, "batch_upper": 8 });
    config
}

/// Every method on the problems that it is for, and one method on the selection of regularization: in both
/// precisions on the quadratic problem and in full, else in single precision.
fn configs() -> Vec<Value> {
    let mut all = vec![];
    for (mut config, [alpha, beta, gamma], hypergradient) in [
        (mnist_small(), [0.1, 0.1, 0.1], json!(false)),
        (quadratic(), [0.002, 0.01, 0.01], json!(true)),
        (hyper_cleaning(), [100.0, 0.05, 0.05], json!(false)),
    ] {
        config["iterations"] = json!(ITERATIONS);
        config["evaluate"] = json!({ "every": 80, "hypergradient": hypergradient });
        for (name, method) in methods() {
            if !suits(&config["problem"], &method) {
                continue;
            }
            let both = in_full() || config["problem"]["kind"] == "quadratic";
            for precision in if both { &["f32", "f64"][..] } else { &["f32"] } {
                let mut config = config.clone();
                config["name"] = json!(format!("{}-{name}-{precision}", text_of(&config["name"])));
                config["precision"] = json!(precision);
                apply(&mut config, &method, [alpha, beta, gamma]);
                all.push(config);
            }
        }
    }
    let (name, method) = methods().swap_remove(4);
    for (i, problem) in regularization_examples().into_iter().enumerate() {
        for precision in ["f32", "f64"] {
            let mut config = mnist_small();
            config["name"] = json!(format!("regularization-{i}-{name}-{precision}"));
            config["precision"] = json!(precision);
            config["partition"] = json!({ "kind": "iid" });
            config["problem"] = problem.clone();
            config["iterations"] = json!(ITERATIONS);
            config["evaluate"] = json!({ "every": 80, "hypergradient": true });
            apply(&mut config, &method, [0.01, 0.05, 0.05]);
            all.push(config);
        }
    }
    all.iter_mut().for_each(|config| config["checkpoint"] = json!({ "at_end": false }));
    all
}

/// Configs that one job of MPI runs.
const PART: usize = 40;

/// Those that are run on so many ranks: all on three and in full, else each method on one problem.
fn on_ranks(ranks: usize) -> Vec<Value> {
    let all = ranks == 3 || in_full();
    let is_run = |config: &Value| all || config["problem"]["kind"] == "quadratic";
    configs().into_iter().filter(is_run).collect()
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
fn ranks_change_no_bit() {
    let test = "ranks_change_no_bit";
    if let Some(role) = role() {
        on_mpi(|mut comm| {
            let (part, output) = role.split_once(' ').expect("a part and its folder");
            let part: usize = part.parse().expect("a number");
            for config in on_ranks(comm.ranks()).chunks(PART).nth(part).expect("a part") {
                let output = Path::new(output).join(text_of(&config["name"]));
                sobaya::run::run(
                    &plan(config),
                    &mut comm,
                    &Folder::find(None),
                    &Options::new(Some(output.clone())),
                )
                .unwrap_or_else(|e| panic!("{config}: {e}"));
            }
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |ranks: &str| folder.path().join(ranks);
    let traces = |ranks: &str, configs: &[Value]| -> Vec<Trace> {
        configs.iter().map(|c| Trace::read(&at(ranks).join(text_of(&c["name"])))).collect()
    };
    let of_threads = [(1, configs()), (4, on_ranks(4))];
    for (threads, configs) in &of_threads {
        for config in configs {
            let name = text_of(&config["name"]);
            let output = at(&format!("threads {threads}")).join(name);
            let outcome = on_threads(&plan(config), *threads, Some(&output));
            let trace = Trace::read(&output);
            assert_eq!(trace.state_hash, format!("{:016x}", outcome.state_hash), "{name}");
            let traffic = outcome.traffic;
            assert_eq!(trace.bytes, [traffic.upload_bytes, traffic.download_bytes], "{name}");
        }
    }
    let all = configs();
    let expected = traces("threads 1", &all);
    let mut hashes: Vec<_> = expected.iter().map(|trace| &trace.state_hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), expected.len(), "two configs ended in one state");
    let compare = |ranks: &str, configs: &[Value]| {
        for (config, trace) in configs.iter().zip(traces(ranks, configs)) {
            let at = all.iter().position(|other| other["name"] == config["name"]);
            let expected = &expected[at.expect("one of them")];
            assert!(trace == *expected, "{ranks}: {}: {trace:?}\n{expected:?}", config["name"]);
        }
    };
    compare("threads 4", &of_threads[1].1);
    for ranks in [1, 2, 3, 4, 8] {
        let name = format!("ranks {ranks}");
        fs::create_dir(at(&name)).expect("a folder");
        let configs = on_ranks(ranks);
        for part in 0..configs.len().div_ceil(PART) {
            let role = format!("{part} {}", text(&at(&name)));
            finish(relaunch(test, &role, ranks)).well();
        }
        compare(&name, &configs);
    }
    println!("{} configs, {} datasets each", expected.len(), expected[0].datasets.len());
}

#[test]
fn the_way_of_the_numbers_changes_no_bit() {
    let test = "the_way_of_the_numbers_changes_no_bit";
    let groups = || {
        alike().into_iter().map(|group| {
            group.into_iter().map(|(name, method)| {
                let mut config = mnist_small();
                config["iterations"] = json!(ITERATIONS);
                apply(&mut config, &method, [0.1; 3]);
                let kind = text_of(&method["algorithm"]["kind"]);
                (format!("{kind}-{name}"), config)
            })
        })
    };
    if let Some(output) = role() {
        on_mpi(|mut comm| {
            for (name, config) in groups().flatten() {
                let output = Path::new(&output).join(name);
                sobaya::run::run(
                    &plan(&config),
                    &mut comm,
                    &Folder::find(None),
                    &Options::new(Some(output.clone())),
                )
                .unwrap_or_else(|e| panic!("{config}: {e}"));
            }
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    for ranks in [1, 3, 8] {
        let output = folder.path().join(ranks.to_string());
        fs::create_dir(&output).expect("a folder");
        finish(relaunch(test, text(&output), ranks)).well();
        for group in groups() {
            let states: Vec<(String, u64, u64)> = group
                .map(|(name, config)| {
                    let expected = on_threads(&plan(&config), 2, None);
                    let summary = summary(&output.join(&name));
                    let hash = format!("{:016x}", expected.state_hash);
                    assert_eq!(summary["state_hash"], json!(hash), "{name} on {ranks} ranks");
                    let bytes = |key: &str| summary[key].as_u64().expect("a number");
                    let [up, down] = [bytes("upload_bytes"), bytes("download_bytes")];
                    assert_eq!(
                        (up, down),
                        (expected.traffic.upload_bytes, expected.traffic.download_bytes)
                    );
                    (hash, up, down)
                })
                .collect();
            // Dense, sums by the star, sums by segments.
            assert!(
                states.iter().all(|s| (&s.0, s.1) == (&states[0].0, states[0].1)),
                "{states:?}"
            );
            assert_eq!(states[1].2, states[2].2, "{states:?}");
            assert_eq!(states[1].1, states[1].2, "what goes up comes down: {states:?}");
        }
    }
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
