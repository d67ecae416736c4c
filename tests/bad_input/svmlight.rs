//! The user's own files: what is wrong with them, and with the key that names them.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, Crc, write::GzEncoder};
use lzma_rust2::{XzOptions, XzWriter};
use serde_json::{Value, json};

use super::process::{finish, mnist_small, sobaya, text, write};
use super::{ALONE, refused};

const TRAIN: &str = "own/train.svm";
const TEST: &str = "own/test.svm";

/// Samples of three features and three labels, a line each.
fn lines(count: usize) -> String {
    let line = |i: usize| format!("{} 1:{}.5 2:-{i} 3:1e-1\n", [-1, 2, 7][i % 3], i % 5);
    (0..count).map(line).collect()
}

/// A good file with this in place of its line 5 or, if that is empty, without one.
fn with(line: &str) -> Vec<u8> {
    let mut lines: Vec<String> = lines(60).lines().map(Into::into).collect();
    lines[4] = line.into();
    (lines.join("\n") + "\n").into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(vec![], XzOptions::with_preset(1)).expect("memory");
    writer.write_all(bytes).expect("memory");
    writer.finish().expect("memory")
}

/// The same xz file asking for the largest dictionary of its format, 4 GiB.
fn greedy(bytes: &[u8]) -> Vec<u8> {
    let mut file = xz(bytes);
    // Behind the 12 bytes of the stream's header, the block's: its size, ..., its checksum.
    let size = 4 * (usize::from(file[12]) + 1);
    let block = &mut file[12..12 + size];
    let lzma2 = block.windows(2).position(|pair| pair == [0x21, 1]).expect("an LZMA2 filter");
    block[lzma2 + 2] = 40;
    let mut crc = Crc::new();
    crc.update(&block[..size - 4]);
    block[size - 4..].copy_from_slice(&crc.sum().to_le_bytes());
    file
}

fn cut(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - from_end);
    bytes
}

fn flip(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 0x55;
    bytes
}

/// Writes good files; the config of a run on them.
fn good(folder: &Path) -> Value {
    let own = folder.join("data/own");
    fs::create_dir_all(&own).expect("a folder");
    fs::write(folder.join("data").join(TRAIN), lines(60)).expect("a writable folder");
    fs::write(folder.join("data").join(TEST), lines(12)).expect("a writable folder");
    let mut config = mnist_small();
    config["problem"]["dataset"] =
        json!({ "format": "svmlight", "train": TRAIN, "test": TEST, "features": 3 });
    config["partition"] = json!({ "kind": "iid" });
    config["workers"] = json!(3);
    config["iterations"] = json!(2);
    config
}

const RUN: [&str; 4] = ["--data", "data", "--out", "out"];

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = write(folder.path(), &good(folder.path()));
    let run = [&["run", text(&config)], &RUN[..]].concat();
    let whole = lines(60).into_bytes();
    for (packed, name) in [(whole.clone(), "plain"), (gzip(&whole), "gzip"), (xz(&whole), "xz")] {
        fs::write(folder.path().join("data").join(TRAIN), packed).expect("a writable folder");
        let mut command = sobaya(&run);
        command.current_dir(folder.path());
        finish(command).well();
        fs::remove_dir_all(folder.path().join("out")).expect(name);
    }

    // The file, its bytes, and a word of the message.
    let middle = xz(&whole).len() / 2;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (TRAIN, vec![], "no sample with features"),
        (TRAIN, b"# nothing\n\n".into(), "no sample with features"),
        (TEST, vec![], "no sample with features"),
        (TRAIN, b"<html>not found</html>".into(), "line 1, byte 1: expected a label"),
        (TRAIN, with("x 1:1"), "line 5, byte 1: expected a label, found `x`"),
        (TRAIN, with("1,2 1:1"), "expected a label, found `1,2`"),
        (TRAIN, with("nan 1:1"), "line 5, byte 1: the label NaN is not finite"),
        (TRAIN, with("2 qid:4 1:1"), "line 5, byte 3: qid"),
        (TRAIN, with("2 0:1"), "line 5, byte 3: index 0"),
        (TRAIN, with("2 2:1 1:1"), "line 5, byte 7: index 1 follows 2"),
        (TRAIN, with("2 2:1 2:1"), "index 2 follows 2"),
        (TRAIN, with("2 4:1"), "index 4 is above 3, the config's number of `features`"),
        (TRAIN, with("2 99999999999999999999:1"), "is above 3"),
        (TRAIN, with("2 -1:1"), "expected index:value, found `-1:1`"),
        (TRAIN, with("2 1.5:1"), "expected index:value"),
        (TRAIN, with("2 1"), "expected index:value, found `1`"),
        (TRAIN, with("2 1:"), "line 5, byte 5: expected a value"),
        (TRAIN, with("2 1:1:1"), "expected a value, found `1:1`"),
        (TRAIN, with("2 1:inf"), "line 5, byte 5: the value inf is not finite"),
        (TRAIN, with("2 1:1e39"), "is not finite in f32"),
        (TRAIN, with("2 1:\u{fc}"), "expected a value, found `\\xc3\\xbc`"),
        (TEST, b"5 1:1\n".into(), "line 1, byte 1: label 5 is no label of the training file"),
        (TEST, b"2 9:1\n".into(), "index 9 is above 3"),
        (TRAIN, cut(gzip(&whole), 9), "end early"),
        (TRAIN, cut(gzip(&whole), 60), "end early"),
        (TRAIN, flip(gzip(&whole), 40), ""),
        (TRAIN, [gzip(&whole), b"more".into()].concat(), ""),
        (TRAIN, cut(xz(&whole), 9), "end early"),
        (TRAIN, cut(xz(&whole), middle), "end early"),
        (TRAIN, flip(xz(&whole), middle), ""),
        (TRAIN, [xz(&whole), b"more".into()].concat(), ""),
        (TRAIN, greedy(&whole), "more than 128 MiB"),
    ];
    for (i, (name, bytes, word)) in cases.into_iter().enumerate() {
        good(folder.path());
        fs::write(folder.path().join("data").join(name), bytes).expect("a writable folder");
        let ranks: &[usize] = if i % 10 == 0 { &[ALONE, 3] } else { &[ALONE] };
        refused(folder.path(), &run, ranks, 3, &[name, word]);
    }

    let file = folder.path().join("data").join(TRAIN);
    fs::remove_file(&file).expect("a file");
    refused(folder.path(), &run, &[ALONE, 3], 3, &[TRAIN, "not found", "data folder data"]);
    fs::create_dir(&file).expect("a folder");
    refused(folder.path(), &run, &[ALONE], 3, &[TRAIN, "directory"]);
}

#[test]
fn bad_keys_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = good(folder.path());
    let svmlight = |keys: Value| {
        let mut dataset = json!({ "format": "svmlight", "train": TRAIN, "test": TEST });
        keys.as_object().expect("keys").iter().for_each(|(key, v)| dataset[key] = v.clone());
        ("dataset", dataset)
    };
    let idx = |keys: Value| {
        let mut dataset = json!({ "format": "idx", "train_images": "a", "train_labels": "b" });
        keys.as_object().expect("keys").iter().for_each(|(key, v)| dataset[key] = v.clone());
        ("dataset", dataset)
    };
    let cases: Vec<((&str, Value), &[&str])> = vec![
        (("dataset", json!(7)), &["`problem.dataset`", "the name of a data set"]),
        (("dataset", json!({})), &["`format`", "found null"]),
        (("dataset", json!({ "format": "csv" })), &["`format`", "\"svmlight\"", "csv"]),
        (("dataset", json!({ "format": "svmlight" })), &["missing", "`train`"]),
        (svmlight(json!({ "tset": "x" })), &["`tset`", "did you mean \"test\"?"]),
        (svmlight(json!({ "features": 0 })), &["`features`", "found 0"]),
        (svmlight(json!({ "features": 1e8 })), &["`features`", "at most"]),
        (svmlight(json!({ "test": null })), &["`test`", "\"test_fraction\": 0.2"]),
        (svmlight(json!({ "test_fraction": 0.5 })), &["`test_fraction`", "beside `test`"]),
        (svmlight(json!({ "test": null, "test_fraction": 1 })), &["`test_fraction`", "below 1"]),
        (idx(json!({})), &["`test_images`", "missing"]),
        (idx(json!({ "test_images": "c" })), &["`test_labels`", "go together"]),
        (
            idx(json!({ "test_fraction": 0.5, "validation_labels": "c" })),
            &["`validation_images`", "go together"],
        ),
        (("samples", json!(0)), &["`problem.samples`", "found 0"]),
        (("samples", json!(61)), &["`problem.samples`", "at most 60"]),
        (("samples", json!(20)), &["`partition`", "fewer workers"]),
        (("scale", json!("max")), &["`problem.scale`", "max-abs"]),
    ];
    for ((key, value), words) in cases {
        let mut config = good.clone();
        config["problem"][key] = value;
        let path = write(folder.path(), &config);
        let check = ["check", text(&path), "--data", "data"];
        refused(folder.path(), &check, &[ALONE], 2, words);
    }
}

#[test]
fn sparse_data_are_not_filled_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = good(folder.path());
    let sparse: String = (0..60).map(|i| format!("{} {}:1\n", i % 2, i % 9 + 1)).collect();
    fs::write(folder.path().join("data").join(TRAIN), &sparse).expect("a writable folder");
    config["problem"]["dataset"] =
        json!({ "format": "svmlight", "train": TRAIN, "test_fraction": 0.2 });
    config["problem"]["scale"] = json!("standard");
    let path = write(folder.path(), &config);
    let run = [&["run", text(&path)], &RUN[..]].concat();
    refused(folder.path(), &run, &[ALONE, 3], 2, &["`problem.scale`", "\"max-abs\""]);
}
