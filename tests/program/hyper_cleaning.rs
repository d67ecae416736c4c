//! Hyper-cleaning: what travels of x, what is refused, and that it tells clean from wrong labels.

use crate::process::{mnist_small, on_threads, plan};
use serde_json::{Value, json};
use sobaya::config::Plan;
use sobaya::data::Folder;
use sobaya::run::build;

const WORKERS: u64 = 4;
const BATCH: u64 = 32;
/// Length of y and z.
const LOWER: u64 = 7840;
const HEADER: u64 = 16;

fn config(algorithm: Value, compressor: Value) -> Value {
    let mut config = mnist_small();
    config["workers"] = json!(WORKERS);
    config["iterations"] = json!(50);
    config["partition"] = json!({ "kind": "iid" });
    config["problem"] = json!({ "kind": "hyper-cleaning", "dataset": "mnist-small",
        "corruption": 0.5, "batch_lower": BATCH, "batch_upper": BATCH });
    config["algorithm"] = algorithm;
    config["compressor"] = compressor;
    config["evaluate"] = json!({ "every": 1000 });
    for (key, step) in [("alpha", 100.0), ("beta", 0.05), ("gamma", 0.05)] {
        config["algorithm"][key] = json!(step);
    }
    config
}

#[test]
fn only_the_entries_of_the_batch_travel_of_x() {
    let upload = |algorithm: &str, compressor: Value| {
        let config = config(json!({ "kind": algorithm }), compressor);
        on_threads(&plan(&config), 2, None).traffic.upload_bytes / 50 / WORKERS
    };
    let dense = 2 * (HEADER + 4 * LOWER);
    let most_of_x = HEADER + 4 * BATCH;
    let soba = upload("soba", Value::Null);
    // A batch drawn with replacement rarely holds a sample twice.
    assert!((dense + most_of_x - 16..=dense + most_of_x).contains(&soba), "{soba}");
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
    let compressed = 2 * (HEADER + 4 * LOWER / 10);
    for algorithm in ["c-soba", "ef-soba"] {
        let upload = upload(algorithm, rand_k.clone());
        assert_eq!(upload - compressed, soba - dense, "{algorithm}: x as in soba");
    }
}

/// The error of a config that is refused.
fn refusal(config: Value) -> String {
    let plan = match Plan::new(config) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let problem = build::problem::<f32>(&plan, &Folder::find(None), 0..0).expect("a problem");
    let algorithm = build::algorithm::<f32>(&plan, &*problem, 0..0);
    algorithm.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn x_is_neither_compressed_nor_averaged_by_workers() {
    let (identity, top_k) =
        (json!({ "kind": "identity" }), json!({ "kind": "top-k", "ratio": 0.1 }));
    let ef_soba = json!({ "kind": "ef-soba" });
    let separate = |x: &Value| json!({ "x": x, "y": top_k, "z": top_k });
    let resolved = Plan::new(config(ef_soba.clone(), top_k.clone())).expect("a plan").resolved;
    assert_eq!(resolved["compressor"]["x"], identity);
    assert_eq!(refusal(config(ef_soba.clone(), separate(&identity))), "");
    let error = refusal(config(ef_soba, separate(&top_k)));
    assert!(error.contains("`compressor.x`") && error.contains("mini-batch"), "{error}");
    let worker = json!({ "kind": "ef-soba", "momentum": "worker" });
    let error = refusal(config(worker, top_k.clone()));
    assert!(error.contains("`algorithm.momentum`") && error.contains("server"), "{error}");
    let mut segments = config(json!({ "kind": "soba" }), Value::Null);
    segments["downlink"] = json!({ "kind": "sum" });
    segments["wire"] = json!({ "collective": "segments" });
    let error = refusal(segments);
    assert!(error.contains("`wire.collective`") && error.contains("star"), "{error}");
}

#[test]
fn weights_tell_clean_from_wrong_labels() {
    let mut config = config(
        json!({ "kind": "ef-soba", "theta": 0.3 }),
        json!({ "kind": "top-k", "ratio": 0.1, "bits": 8 }),
    );
    config["iterations"] = json!(600);
    config["evaluate"] = json!({ "every": 600 });
    let outcome = on_threads(&plan(&config), 2, None);
    let [(_, start), (_, end)] = outcome.evaluations[..] else { panic!("two evaluations") };
    println!("AUC {}, test accuracy {}", end.weight_auc, end.test_accuracy);
    assert_eq!(start.weight_auc, 0.5, "all weights equal");
    assert!(end.weight_auc > 0.85, "{}", end.weight_auc);
}
