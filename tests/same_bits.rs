//! One config gives the same bits on any number of ranks, as threads or over MPI.

mod common;
mod process;

use std::fs;
use std::path::Path;

use common::regularization_examples;
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

/// Algorithms with their compressors, feedbacks and ways down; every registered one must be here.
fn methods() -> Vec<(&'static str, Value)> {
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    let shared = json!({ "kind": "rand-k", "ratio": 0.1, "shared": true });
    let stratified = json!({ "kind": "rand-k", "ratio": 0.1, "sampler": "stratified" });
    let multi_step = json!({ "kind": "multi-step", "rounds": 3, "inner": rand_k });
    let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
    let coded = json!({ "kind": "top-k", "ratio": 0.05, "bits": 4, "index": "rice" });
    let dithering = json!({ "kind": "dithering" });
    let identity = json!({ "kind": "identity" });
    let separate = |x: &Value, y: &Value, z: &Value| json!({ "x": x, "y": y, "z": z });
    let ef_soba = |momentum| json!({ "kind": "ef-soba", "theta": 0.2, "momentum": momentum });
    let difference = |c: &Value| json!({ "kind": "difference", "compressor": c });
    let sum = json!({ "kind": "sum" });
    let mut seldom = coded.clone();
    seldom["every"] = json!(3);
    vec![
        ("soba", json!({ "algorithm": { "kind": "soba", "rho": 5 } })),
        ("c-soba", json!({ "algorithm": { "kind": "c-soba" }, "compressor": multi_step })),
        (
            "cm-soba",
            json!({ "algorithm": { "kind": "cm-soba", "theta": 0.2 }, "compressor": stratified }),
        ),
        ("ef-soba-server", json!({ "algorithm": ef_soba("server"), "compressor": rand_k })),
        (
            "ef-soba-worker",
            json!({ "algorithm": ef_soba("worker"),
                "compressor": separate(&rand_k, &top_k, &identity) }),
        ),
        ("ef-soba-multi-step", json!({ "algorithm": ef_soba("server"), "compressor": multi_step })),
        (
            "residual",
            json!({ "algorithm": { "kind": "c-soba" }, "feedback": { "kind": "residual" },
                "compressor": separate(&seldom, &dithering, &json!({ "kind": "sign" })),
                "downlink": difference(&top_k) }),
        ),
        (
            "residual-momentum",
            json!({ "algorithm": { "kind": "cm-soba", "theta": 0.2 },
                "feedback": { "kind": "residual" }, "compressor": coded,
                "downlink": difference(&separate(&coded, &rand_k, &dithering)) }),
        ),
        (
            "ef21",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "ef21" },
                "compressor": coded, "downlink": sum }),
        ),
        (
            "diana",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "diana", "eta": 0.05 },
                "compressor": separate(&json!({ "kind": "natural" }),
                    &json!({ "kind": "rand-block", "ratio": 0.1 }),
                    &json!({ "kind": "bernoulli", "ratio": 0.1 })) }),
        ),
        (
            "ef21-momentum",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "ef21-momentum" },
                "compressor": json!({ "kind": "ternary" }) }),
        ),
        (
            "econtrol",
            json!({ "algorithm": ef_soba("server"), "feedback": { "kind": "econtrol" },
                "compressor": coded }),
        ),
        (
            "low-rank",
            json!({ "algorithm": { "kind": "c-soba" }, "feedback": { "kind": "residual" },
                "compressor": separate(&json!({ "kind": "low-rank", "rank": 2, "every": 2 }), &coded,
                    &json!({ "kind": "low-rank", "rank": 1, "factors": identity })),
                "downlink": difference(&coded) }),
        ),
        (
            "ma-soba",
            json!({ "algorithm": { "kind": "ma-soba", "theta": 0.2 },
                "downlink": difference(&dithering) }),
        ),
        (
            "amigo",
            json!({ "algorithm": { "kind": "amigo", "inner_steps": 2, "linear_steps": 1, "rho": 5 },
                "downlink": difference(&dithering) }),
        ),
        (
            "stocbio",
            json!({ "algorithm": { "kind": "stocbio", "eta": 0.1, "inner_steps": 1,
                "neumann_steps": 1 } }),
        ),
        (
            "f2sa",
            json!({ "algorithm": { "kind": "f2sa", "lambda": 2, "lambda_step": 0.01,
                "inner_steps": 1 }, "downlink": sum }),
        ),
        (
            "shared-sum",
            json!({ "algorithm": { "kind": "c-soba" }, "compressor": shared, "downlink": sum }),
        ),
    ]
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

/// Every method on the problems that it is for, in both precisions, and one method on
/// the selection of regularization.
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
            let low_rank = method["compressor"].to_string().contains("low-rank");
            let own_x = !method["compressor"]["x"].is_null() || name == "ef-soba-worker";
            match text_of(&config["problem"]["kind"]) {
                "quadratic" if low_rank => continue, // Its variables are no matrices.
                "hyper-cleaning" if own_x => continue, // Its x is not compressed.
                _ => {}
            }
            for precision in ["f32", "f64"] {
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
    all
}

/// Sets the keys of a method and its step sizes.
fn apply(config: &mut Value, method: &Value, steps: [f64; 3]) {
    config["compressor"] = Value::Null;
    for (key, value) in method.as_object().expect("keys of a config") {
        config[key] = value.clone();
    }
    for (key, step) in ["alpha", "beta", "gamma"].into_iter().zip(steps) {
        if key != "gamma" || config["algorithm"]["kind"] != "stocbio" {
            config["algorithm"][key] = json!(step);
        }
    }
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
    let all: String = methods.iter().map(|(_, method)| method.to_string()).collect();
    let tried = |kind: &str| all.contains(&format!("\"kind\":\"{kind}\""));
    for entry in sobaya::algorithms::registry().0 {
        assert!(tried(entry.kind), "add {} to `methods`", entry.kind);
    }
    for entry in sobaya::compressors::coders().0 {
        assert!(tried(entry.kind), "add {} to `methods`", entry.kind);
    }
    for entry in sobaya::feedback::registry().0.iter().filter(|entry| entry.kind != "none") {
        assert!(tried(entry.kind) || entry.kind == "memory", "add {} to `methods`", entry.kind);
    }
}

#[test]
fn ranks_change_no_bit() {
    let test = "ranks_change_no_bit";
    if let Some(role) = role() {
        on_mpi(|mut comm| {
            let (precision, output) = role.split_once(' ').expect("a part and its folder");
            for config in configs().iter().filter(|config| config["precision"] == precision) {
                let output = Path::new(output).join(text_of(&config["name"]));
                sobaya::run::run(&plan(config), &mut comm, &Folder::find(None), Some(&output))
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
        for precision in ["f32", "f64"] {
            let role = format!("{precision} {}", text(&at(&name)));
            finish(relaunch(test, &role, ranks)).well();
        }
        compare(&name);
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
                sobaya::run::run(&plan(&config), &mut comm, &Folder::find(None), Some(&output))
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
