//! Compressed runs reach the accuracy of the uncompressed one with a tenth of the bytes.

use crate::process::{mnist_small, on_threads, plan};
use serde_json::json;

const SEEDS: [u64; 3] = [1, 2, 3];

/// Median over the seeds of the mean accuracy of the last five evaluations, and the bytes uploaded
/// by a run.
fn accuracy(kind: &str) -> (f64, u64) {
    let mut config = mnist_small();
    config["iterations"] = json!(600);
    config["problem"]["hidden"] = json!([50]);
    config["problem"]["batch_lower"] = json!(32);
    config["problem"]["batch_upper"] = json!(32);
    config["evaluate"] = json!({ "every": 20 });
    config["algorithm"] = json!({ "kind": kind, "alpha": 0.1, "beta": 0.1, "gamma": 0.1 });
    match kind {
        "soba" => config["compressor"] = json!(null),
        _ => config["algorithm"]["theta"] = json!(0.1),
    }
    let mut upload = 0;
    let mut accuracies = SEEDS.map(|seed| {
        config["seed"] = json!(seed);
        let outcome = on_threads(&plan(&config), 2, None);
        upload = outcome.traffic.upload_bytes;
        let last = outcome.evaluations.iter().rev().take(5).map(|(_, e)| e.test_accuracy);
        last.sum::<f64>() / 5.0
    });
    accuracies.sort_by(f64::total_cmp);
    println!("{kind:<8} accuracy {accuracies:.4?}, {upload} bytes up");
    (accuracies[1], upload)
}

#[test]
fn a_tenth_of_the_bytes_keeps_the_accuracy() {
    let (soba, dense) = accuracy("soba");
    assert!(soba > 0.9, "soba learns: {soba}");
    for kind in ["cm-soba", "ef-soba"] {
        let (compressed, upload) = accuracy(kind);
        let saving = dense as f64 / upload as f64;
        println!("{kind:<8} {:+.2} points, {saving:.2} times fewer", 100.0 * (compressed - soba));
        assert!(compressed > soba - 0.01, "{kind} {compressed}, soba {soba}");
        assert!(saving > 9.5, "{kind} saves {saving}");
    }
}
