//! Partitions that leave a worker without enough samples.

use serde_json::{Value, json};

use super::process::{mnist_small, text, write};
use super::{ALONE, refused};

#[test]
fn a_worker_without_samples_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let iid = json!({ "kind": "iid" });
    let by_label = json!({ "kind": "by-label" });
    let dirichlet =
        |concentration: f64| json!({ "kind": "dirichlet", "concentration": concentration });
    // Partition, workers, further keys of the problem, and a word of the remedy. Of the 6,000 samples each
    // worker needs 10 for training, a class each, and 2 for validation.
    let cases: Vec<(Value, f64, Value, &str)> = vec![
        (iid.clone(), 501.0, json!({}), "fewer workers"),
        (by_label.clone(), 501.0, json!({}), "fewer workers"),
        (dirichlet(10.0), 501.0, json!({}), "fewer workers"),
        (iid.clone(), 1e9, json!({}), "fewer workers"),
        (dirichlet(1.0), 1e9, json!({}), "fewer workers"),
        // Enough in all, but not for each of them.
        (dirichlet(0.01), 490.0, json!({}), "a larger concentration"),
        (dirichlet(1e-300), 8.0, json!({}), "a larger concentration"),
        (iid.clone(), 8.0, json!({ "samples": 90 }), "more data"),
        (by_label, 8.0, json!({ "samples": 90 }), "more data"),
        // Every sample is for training, or for validation.
        (iid.clone(), 8.0, json!({ "validation_fraction": 1e-6 }), "validation samples"),
        (iid, 8.0, json!({ "validation_fraction": 0.999 }), "training"),
    ];
    for (i, (partition, workers, problem, word)) in cases.into_iter().enumerate() {
        let mut config = mnist_small();
        config["partition"] = partition;
        config["workers"] = json!(workers);
        let keys = problem.as_object().expect("keys").clone();
        config["problem"].as_object_mut().expect("an object").extend(keys);
        let path = write(folder.path(), &config);
        let words = ["config key `partition`: worker", word];
        refused(folder.path(), &["check", text(&path)], &[ALONE], 2, &words);
        if i % 3 == 0 {
            refused(folder.path(), &["run", text(&path)], &[1, 2, 8], 2, &words);
        }
    }
}
