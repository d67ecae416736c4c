//! Bad configs, data and output folders: the right exit code, one message that names the culprit,
//! and nothing written.

mod keys;
mod partitions;
#[path = "../process/mod.rs"]
mod process;
mod refusal;
mod svmlight;

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use keys::{ON_GRAPH, ON_IMAGES, ON_QUADRATIC, ON_RESIDUALS, ON_TRAVEL};
use process::{files, finish, mnist_small, quadratic, sobaya, text, write};
use refusal::{ALONE, changed, refused};
use serde_json::{Value, json};

#[test]
fn bad_keys_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut c_soba = mnist_small();
    c_soba["algorithm"]["kind"] = json!("c-soba");
    let mut residual = c_soba.clone();
    residual["feedback"] = json!({ "kind": "residual" });
    residual["compressor"] = json!({ "kind": "low-rank", "rank": 1 });
    let mut sparkle = quadratic();
    sparkle["algorithm"] = json!({ "kind": "sparkle", "alpha": 1, "beta": 1, "gamma": 1,
        "strategy": { "x": "ed", "y": "ed", "z": "ed" } });
    sparkle["compressor"] = Value::Null;
    let all = [
        (mnist_small(), ON_IMAGES),
        (sparkle, ON_GRAPH),
        (quadratic(), ON_QUADRATIC),
        (c_soba, ON_TRAVEL),
        (residual, ON_RESIDUALS),
    ];
    for (config, cases) in all {
        for (i, (key, value, words)) in cases.iter().enumerate() {
            let path = write(folder.path(), &changed(&config, key, value));
            refused(folder.path(), &["check", text(&path)], &[ALONE], 2, words);
            if i % 15 == 0 {
                refused(folder.path(), &["run", text(&path)], &[ALONE, 3], 2, words);
            }
        }
    }
}

/// A key that the kind of partition does not use, or lacks.
#[test]
fn a_partition_has_the_keys_of_its_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    for partition in [r#"{"kind": "iid", "concentration": 1}"#, r#"{"kind": "dirichlet"}"#] {
        let path = write(folder.path(), &changed(&mnist_small(), "partition", partition));
        let words = ["`partition.concentration`"];
        refused(folder.path(), &["check", text(&path)], &[ALONE], 2, &words);
    }
}

/// More than a packet, or any machine, holds: a key is to blame, not the allocator.
#[test]
fn sizes_beyond_all_machines_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (config, key, value) in [
        (mnist_small(), "problem.hidden", "[1e9]"),
        (mnist_small(), "problem.hidden", "[1e9, 1e9, 1e9]"),
        (mnist_small(), "problem.batch_lower", "1e9"),
        (quadratic(), "problem.dim_upper", "1e9"),
        (quadratic(), "problem.dim_lower", "1e9"),
    ] {
        let path = write(folder.path(), &changed(&config, key, value));
        refused(folder.path(), &["check", text(&path)], &[ALONE], 2, &["`problem"]);
    }
}

/// A plan beyond this machine, or any: refused before anything of its size is made.
#[test]
fn more_than_the_machine_holds_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (key, value) in
        [("problem.dim_lower", "3e8"), ("problem.dim_upper", "3e8"), ("workers", "1e9")]
    {
        let mut config = changed(&quadratic(), key, value);
        if key == "problem.dim_upper" {
            config["workers"] = json!(1_000_000);
        }
        let path = folder.path().join("config.json");
        fs::write(&path, config.to_string()).expect("a writable folder");
        let words = ["rank 0 would hold", "this machine has", "`workers`"];
        refused(folder.path(), &["run", text(&path)], &[ALONE, 3], 2, &words);
    }
}

#[test]
fn a_config_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nowhere");
    refused(folder.path(), &["run", text(&path)], &[ALONE, 3], 2, &[text(&path), "No such file"]);
    refused(folder.path(), &["check", "."], &[ALONE], 2, &["config .", "directory"]);
}

#[test]
fn bad_arguments_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), &quadratic());
    let path = text(&path);
    let run = |further: &[&str], ranks: &[usize], words: &[&str]| {
        let arguments = [&["run", path], further].concat();
        refused(folder.path(), &arguments, ranks, 2, words);
    };
    run(&["--set", "seed"], &[ALONE, 3], &["--set seed", "no `=`"]);
    run(&["--set", "algorithm..alpha=1"], &[ALONE], &["--set algorithm..alpha=1", "empty"]);
    run(&["--set", "seed.x=1"], &[ALONE], &["`seed`"]);
    run(&["--set", "workers=2"], &[3], &["3 ranks for 2 workers"]);
}

#[test]
fn output_folders_that_cannot_be_used_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), &quadratic());
    let used = folder.path().join("used");
    let run = ["run", text(&path), "--out", text(&used)];
    finish(sobaya(&run)).well();
    // The same run is complete: nothing is done.
    let before = files(&used);
    let again = finish(sobaya(&run)).well();
    assert!(again.err.contains("is complete already") && files(&used) == before, "{}", again.err);
    let other = [&run[..], &["--resume", "never"]].concat();
    refused(folder.path(), &other, &[ALONE, 3], 5, &[text(&used), "already holds a run"]);
    let other = [&run[..], &["--set", "seed=5"]].concat();
    refused(folder.path(), &other, &[ALONE, 3], 6, &[text(&used), "`seed`", "0 there", "5 now"]);

    // Each file of a run marks the folder as taken.
    for file in ["config.json", "log.h5", "log.journal"] {
        let taken = folder.path().join(format!("with {file}"));
        fs::create_dir(&taken).expect("a folder");
        fs::write(taken.join(file), "").expect("a writable folder");
        refused(folder.path(), &["run", text(&path), "--out", text(&taken)], &[ALONE], 5, &[file]);
    }
    let below_a_file = path.join("out");
    let run = ["run", text(&path), "--out", text(&below_a_file)];
    refused(folder.path(), &run, &[ALONE, 3], 5, &[text(&below_a_file)]);
    refused(
        folder.path(),
        &["run", text(&path), "--out", text(&path)],
        &[ALONE],
        5,
        &[text(&path)],
    );
}

mod data {
    use super::*;

    const BYTE: u8 = 0x08;
    const FLOAT: u8 = 0x0d;
    const TRAIN: &str = "train-images-idx3-ubyte";
    const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
    const TEST: &str = "t10k-images-idx3-ubyte";
    const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

    fn idx(kind: u8, sizes: &[u32], body: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(body);
        bytes
    }

    /// Samples of 2 x 2 pixels, all different.
    fn images(count: u32) -> Vec<u8> {
        idx(BYTE, &[count, 2, 2], (0..4 * count).map(|i| (i * 37) as u8))
    }

    fn labels(count: u32) -> Vec<u8> {
        idx(BYTE, &[count], (0..count).map(|i| (i % 3) as u8))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
    }

    fn cut(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
        bytes.truncate(bytes.len() - from_end);
        bytes
    }

    fn flip(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0x55;
        bytes
    }

    fn lengthen(bytes: Vec<u8>) -> Vec<u8> {
        [&bytes[..], &[0]].concat()
    }

    /// Writes a good data set; the config of a run on it.
    fn good(folder: &Path) -> Value {
        let mnist = folder.join("data/mnist");
        let _ = fs::remove_dir_all(&mnist);
        fs::create_dir_all(&mnist).expect("a folder");
        for (name, bytes) in [(TRAIN, images(64)), (TRAIN_LABELS, labels(64)), (TEST, images(12))] {
            fs::write(mnist.join(name), bytes).expect("a writable folder");
        }
        fs::write(mnist.join(format!("{TEST_LABELS}.gz")), gzip(&labels(12))).expect("a file");
        let mut config = mnist_small();
        config["problem"]["dataset"] = json!("mnist");
        config["partition"] = json!({ "kind": "iid" });
        config["workers"] = json!(3);
        config["iterations"] = json!(2);
        config
    }

    #[test]
    fn bad_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = write(folder.path(), &good(folder.path()));
        let run = ["run", text(&config), "--data", "data", "--out", "out"];
        let mut command = sobaya(&run);
        command.current_dir(folder.path());
        finish(command).well();
        fs::remove_dir_all(folder.path().join("out")).expect("the output of the good run");

        let float = |value: f32| {
            let pixels = (0..4 * 64).map(|i| if i == 77 { value } else { 0.5 });
            idx(FLOAT, &[64, 2, 2], pixels.flat_map(f32::to_be_bytes))
        };
        // The file, its bytes, whether they are gzipped, and a word of the message.
        let cases: Vec<(&str, Vec<u8>, bool, &str)> = vec![
            (TRAIN, vec![], false, "ends within"),
            (TRAIN, b"<html>not found</html>".into(), false, "not an idx file"),
            (TRAIN, labels(64), false, "not an idx file"),
            (TRAIN_LABELS, images(64), false, "not an idx file"),
            (TRAIN, cut(images(64), 1), false, "ends within image 63 of 64"),
            (TRAIN, cut(images(64), 262), false, "header"),
            (TRAIN, lengthen(images(64)), false, "left behind"),
            (TRAIN_LABELS, lengthen(labels(64)), false, "left behind"),
            (TRAIN, images(63), false, "63 images, expected 64"),
            (TRAIN_LABELS, labels(65), false, "64 images, expected 65"),
            (TRAIN_LABELS, idx(BYTE, &[u32::MAX], [0; 64]), false, "ends within label 64"),
            (TRAIN, idx(BYTE, &[64, u32::MAX, u32::MAX], [0; 64]), false, "entries in a sample"),
            (TRAIN, idx(BYTE, &[64, 0, 2], []), false, "entries in a sample"),
            (TEST, idx(BYTE, &[12, 2, 3], [0; 72]), false, "6 entries in an image, expected 4"),
            (TRAIN, float(f32::NAN), false, "image 19 holds a value that is not finite"),
            (TRAIN, float(f32::INFINITY), false, "entry 1"),
            (TEST_LABELS, idx(BYTE, &[12], [3; 12]), false, "label 3 of sample 0"),
            (TRAIN, cut(gzip(&images(64)), 20), true, "ends within"),
            (TRAIN, cut(gzip(&images(64)), 1), true, "ends within"),
            (TRAIN, flip(gzip(&images(64)), 100), true, ""),
            (TRAIN, flip(gzip(&images(64)), 6), true, "corrupt"),
            (TRAIN, gzip(&lengthen(images(64))), true, "left behind"),
            (TEST, gzip(&cut(images(12), 3)), true, "ends within image 11 of 12"),
        ];
        for (i, (name, bytes, gzipped, word)) in cases.into_iter().enumerate() {
            good(folder.path());
            let mut file = folder.path().join("data/mnist").join(name);
            if gzipped || name == TEST_LABELS {
                let _ = fs::remove_file(&file);
                file.set_extension("gz");
            }
            fs::write(&file, bytes).expect("a writable folder");
            // A count that differs from the other file's may be either one's fault.
            let named = if word.contains("expected 65") { TRAIN } else { name };
            let ranks: &[usize] = if i % 8 == 0 { &[ALONE, 3] } else { &[ALONE] };
            refused(folder.path(), &run, ranks, 3, &[named, word]);
        }

        let file = folder.path().join("data/mnist").join(TRAIN);
        fs::remove_file(&file).expect("a file");
        refused(folder.path(), &run, &[ALONE, 3], 3, &[TRAIN, "not found"]);
        fs::create_dir(&file).expect("a folder");
        refused(folder.path(), &run, &[ALONE], 3, &[TRAIN, "directory"]);
        let check = ["check", text(&config), "--data", "data"];
        refused(folder.path(), &check, &[ALONE], 3, &[TRAIN, "directory"]);
    }

    #[test]
    fn bytes_behind_a_gzip_stream_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = write(folder.path(), &good(folder.path()));
        let file = folder.path().join("data/mnist").join(format!("{TEST_LABELS}.gz"));
        let bytes = [gzip(&labels(12)), b"more of something else".into()].concat();
        fs::write(file, bytes).expect("a writable folder");
        let run = ["run", text(&config), "--data", "data", "--out", "out"];
        refused(folder.path(), &run, &[ALONE], 3, &[TEST_LABELS]);
    }
}
