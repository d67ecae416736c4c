//! The config of docs/own-problem.md for data of the user's own runs as it stands there.

use std::fs;
use std::path::Path;

use crate::process::{finish, mpirun, sobaya, summary, text};
use serde_json::json;

/// The last config of the page.
fn config() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/own-problem.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, rest) = page.rsplit_once("```json\n").expect("a config");
    rest.split("```").next().expect("its end").to_owned()
}

/// Samples of three classes: feature c is large in class c, and so is one of six others.
fn samples(count: usize) -> String {
    let line = |i: usize| {
        let (class, noise) = (i % 3, i * 7 % 11);
        let other = 4 + (i * 5 + noise) % 6;
        format!("{class} {}:{} {other}:{}\n", class + 1, 2.0 + 0.1 * noise as f64, 1 + noise % 3)
    };
    (0..count).map(line).collect()
}

#[test]
fn the_config_of_the_page_runs_on_svmlight_files_and_ranks_change_no_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a writable folder");
        path
    };
    file("train.svm", samples(300));
    file("test.svm", samples(60));
    let config = file("own-data.json", config());
    let summaries = [1, 2].map(|ranks| {
        let output = folder.path().join(format!("on-{ranks}"));
        let data = text(folder.path());
        let run = ["run", text(&config), "--data", data, "--out", text(&output)];
        finish(mpirun(ranks, &sobaya(&run))).well();
        summary(&output)
    });
    assert_eq!(summaries[0]["state_hash"], summaries[1]["state_hash"]);
    assert_eq!(summaries[1]["ranks"], json!(2));
    let final_of = |key: &str| summaries[0]["final"][key].as_f64().expect("a number");
    println!("accuracy {}, AUC {}", final_of("test_accuracy"), final_of("weight_auc"));
    assert!(final_of("test_accuracy") > 0.9 && final_of("weight_auc") > 0.8);
}
