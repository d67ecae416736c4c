//! log.h5 holds what it promises, with named dimensions, and agrees with summary.json.

use std::path::{Path, PathBuf};

use crate::process::{attribute, column, finish, log, mnist_small, mpirun, plan, quadratic};
use crate::process::{sobaya, summary, write};
use hdf5::types::TypeDescriptor::{self, Float, Integer};
use hdf5::types::{FloatSize, IntSize, VarLenArray};
use hdf5::{File, ObjectReference, ObjectReference1, ReferencedObject};
use serde_json::{Value, json};

const I4: TypeDescriptor = Integer(IntSize::U4);
const I8: TypeDescriptor = Integer(IntSize::U8);
const F4: TypeDescriptor = Float(FloatSize::U4);
const F8: TypeDescriptor = Float(FloatSize::U8);

/// Every dataset with its type and dimensions; a dimension's own dataset has its name.
fn promised() -> Vec<(&'static str, TypeDescriptor, &'static [&'static str])> {
    let mut all: Vec<(_, _, &[_])> = vec![
        ("iteration", I8, &["iteration"]),
        ("eval", I8, &["eval"]),
        ("worker", I4, &["worker"]),
        ("rank", I4, &["rank"]),
        ("part", I4, &["iteration"]),
        ("eval_iteration", I8, &["eval"]),
    ];
    all.extend(
        ["upper_loss", "lower_loss", "wall_time"].map(|name| (name, F8, &["iteration"][..])),
    );
    let bytes = ["upload_bytes", "download_bytes", "upload_bits_per_worker"];
    all.extend(bytes.map(|name| (name, I8, &["iteration"][..])));
    let by_rank = &["iteration", "rank"][..];
    all.extend(["wire_bytes_up", "wire_bytes_down"].map(|name| (name, I8, by_rank)));
    let phases = ["compute", "compress", "communicate", "wait", "server"];
    let phases = phases.map(|phase| &*format!("time_{phase}").leak());
    all.extend(phases.map(|name| (name, F4, by_rank)));
    let metrics = [
        "hypergradient_norm",
        "objective",
        "lower_distance",
        "auxiliary_distance",
        "solution_accuracy",
        "test_accuracy",
        "test_loss",
        "validation_loss",
        "weight_auc",
        "solution_loss_auc",
        "consensus_error_x",
        "consensus_error_y",
        "consensus_error_z",
    ];
    all.extend(metrics.map(|name| (name, F8, &["eval"][..])));
    all
}

/// The output folder of a run of the program.
fn run(folder: &Path, config: &Value, ranks: usize) -> PathBuf {
    let path = write(folder, config);
    let output = folder.join(format!("on {ranks} ranks"));
    let program =
        sobaya(&["run", crate::process::text(&path), "--out", crate::process::text(&output)]);
    finish(mpirun(ranks, &program)).well();
    output
}

fn rows(log: &File, name: &str) -> Vec<u64> {
    column(log, name).into_iter().map(|v| v as u64).collect()
}

/// The column of one rank.
fn of_rank(log: &File, name: &str, rank: usize) -> Vec<u64> {
    let ranks = log.dataset("rank").expect("ranks").size();
    rows(log, name).into_iter().skip(rank).step_by(ranks).collect()
}

/// K of the packets of x and y, z, of the quadratic at 10 %: of 40 and 60 entries.
const KEPT: [u64; 3] = [4, 6, 6];
const HEADER: u64 = 16;

#[test]
fn every_dataset_is_there_with_its_dimensions() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = mnist_small();
    config["iterations"] = json!(20);
    let log = log(&run(folder.path(), &config, 2));
    let promised = promised();
    let mut names: Vec<&str> = promised.iter().map(|(name, ..)| *name).collect();
    names.sort();
    assert_eq!(log.member_names().expect("names"), names);

    let length = |dimension: &str| match dimension {
        "iteration" => 21,
        "eval" | "rank" => 2,
        _ => 8,
    };
    for (name, kind, dimensions) in promised {
        let dataset = log.dataset(name).expect(name);
        let shape: Vec<usize> = dimensions.iter().map(|dimension| length(dimension)).collect();
        assert_eq!(dataset.shape(), shape, "{name}");
        assert_eq!(
            dataset.dtype().and_then(|t| t.to_descriptor()).expect("a type"),
            kind,
            "{name}"
        );
        assert_eq!(
            dataset.is_resizable(),
            ["iteration", "eval"].contains(&dimensions[0]),
            "{name}"
        );
        for words in ["units", "long_name"] {
            assert!(dataset.attr(words).is_ok(), "{name} has no {words}");
        }
        if dimensions == [name] {
            for (key, value) in [("CLASS", "DIMENSION_SCALE"), ("NAME", name)] {
                assert_eq!(fixed_text(&dataset, key), value);
            }
            continue;
        }
        let list = dataset.attr("DIMENSION_LIST").expect("dimensions");
        let list = list.read_raw::<VarLenArray<ObjectReference1>>().expect("references");
        let named: Vec<String> = list.iter().map(|scales| dereferenced(&log, scales)).collect();
        let expected: Vec<String> = dimensions.iter().map(|name| format!("/{name}")).collect();
        assert_eq!(named, expected, "{name}");
    }
    let sizes = log.dataset("wall_time").and_then(|d| d.attr("units")).expect("units");
    assert_eq!(sizes.read_scalar::<hdf5::types::VarLenUnicode>().expect("text").as_str(), "s");
}

/// A null-terminated text attribute of fixed length.
fn fixed_text(dataset: &hdf5::Dataset, name: &str) -> String {
    let value = dataset.attr(name).and_then(|a| a.read_scalar::<hdf5::types::FixedAscii<32>>());
    value.expect("text").as_str().to_owned()
}

fn dereferenced(log: &File, scales: &[ObjectReference1]) -> String {
    let [scale] = scales else { panic!("{} scales of one dimension", scales.len()) };
    match scale.dereference(log).expect("an object") {
        ReferencedObject::Dataset(dataset) => dataset.name(),
        _ => panic!("a dimension that is no dataset"),
    }
}

#[test]
fn bytes_are_those_of_the_packets_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().expect("a folder");
    let (n, k) = (8, 200);
    let packets: u64 = KEPT.iter().map(|kept| HEADER + 8 * kept).sum();
    let dense = 3 * HEADER + 8 * (40 + 60 + 60);
    for ranks in [1, 2] {
        let output = run(folder.path(), &quadratic(), ranks);
        let (log, summary) = (log(&output), summary(&output));
        let iteration: Vec<u64> = (0..=k).collect();
        assert_eq!(rows(&log, "iteration"), iteration, "row k is the state after k iterations");
        // Each iteration is one upload of every worker and one download.
        let each = |bytes: u64| iteration.iter().map(|k| k * bytes).collect::<Vec<_>>();
        assert_eq!(rows(&log, "upload_bytes"), each(n * packets));
        assert_eq!(rows(&log, "download_bytes"), each(n * dense));
        assert_eq!(rows(&log, "upload_bits_per_worker"), each(8 * packets));
        for name in ["upload_bytes", "download_bytes", "upload_bits_per_worker"] {
            assert_eq!(summary[name].as_u64(), rows(&log, name).last().copied(), "{name}");
        }

        let loss = column(&log, "upper_loss");
        assert!(loss[0].is_nan(), "no batch led to the start");
        assert!(loss[1..].iter().all(|loss| loss.is_finite()));
        assert!(column(&log, "wall_time").is_sorted());

        let [up, down] = ["wire_bytes_up", "wire_bytes_down"].map(|name| {
            let of_ranks: Vec<_> = (0..ranks).map(|rank| of_rank(&log, name, rank)).collect();
            assert!(of_ranks.iter().all(|bytes| bytes.is_sorted() && bytes[0] == 0), "{name}");
            of_ranks.iter().map(|bytes| bytes[k as usize]).collect::<Vec<_>>()
        });
        if ranks == 1 {
            assert_eq!((&up[..], &down[..]), (&[0][..], &[0][..]), "nothing leaves the one rank");
            continue;
        }
        // Rank 1 sends the packets of its half of the workers; besides an envelope, a report and
        // the workers' losses travel.
        let half = k * n / 2 * packets;
        assert_eq!(up[0], 0);
        assert!((half..half + k * 256).contains(&up[1]), "{up:?}, packets {half}");
        assert_eq!(down[1], 0);
        assert!((k * dense..k * (dense + 64)).contains(&down[0]), "{down:?}");
        println!("wire {up:?} {down:?}, packets {half} {}", k * dense);
    }
}

/// Each inner step is a round: it uploads and downloads y or z alone, and each iteration is one row.
#[test]
fn bytes_of_an_iteration_of_rounds_are_in_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    let object = config.as_object_mut().expect("an object");
    object.remove("compressor");
    object.remove("feedback");
    object["iterations"] = json!(30);
    object["algorithm"] = json!({ "kind": "amigo", "alpha": 0.01, "beta": 0.1, "gamma": 0.1,
        "inner_steps": 4, "linear_steps": 3 });
    let (n, rounds, [p, q]) = (8, 4 + 3, [40, 60]);
    let iteration = rounds * (HEADER + 8 * q) + HEADER + 8 * p;
    let log = log(&run(folder.path(), &config, 2));
    let expected: Vec<u64> = (0..=30).map(|k| k * n * iteration).collect();
    assert_eq!(rows(&log, "upload_bytes"), expected);
    assert_eq!(rows(&log, "download_bytes"), expected);
    for name in ["upper_loss", "lower_loss"] {
        let loss = column(&log, name);
        assert!(loss[0].is_nan() && loss[1..].iter().all(|loss| loss.is_finite()), "{name}");
    }
    let path = write(folder.path(), &config);
    let check = finish(sobaya(&["check", crate::process::text(&path)])).well();
    let foretold = format!("iteration    <=  {} (1.00 times", sobaya::log::bytes(iteration));
    assert!(check.out.contains(&foretold), "{foretold}: {}", check.out);
}

/// Without a server each link of the graphs has its bytes, and they add up.
#[test]
fn links_have_bytes_and_graphs_a_spectral_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(30);
    config["algorithm"] = json!({ "kind": "d-soba", "alpha": 0.01, "beta": 0.01, "gamma": 0.01 });
    config["topology"] =
        json!({ "x": { "kind": "star" }, "y": { "kind": "ring" }, "z": { "kind": "ring" } });
    let output = run(folder.path(), &config, 3);
    let (log, summary) = (log(&output), summary(&output));
    let [from, to, bytes] = ["link_from", "link_to", "link_bytes"].map(|name| rows(&log, name));
    // The star's spokes from 0 to 1 and to 7 are on the ring, too.
    assert_eq!(rows(&log, "link"), (0..2 * (8 + 7 - 2)).collect::<Vec<_>>());
    let links =
        from.iter().zip(&to).zip(&bytes).map(|((from, to), bytes)| json!([from, to, bytes]));
    assert_eq!(summary["link_bytes"], links.collect::<Value>());
    assert_eq!(Some(&bytes.iter().sum()), rows(&log, "upload_bytes").last());
    let gaps = log.attr("spectral_gap").and_then(|a| a.read_raw::<f64>()).expect("gaps");
    let named = json!({ "x": gaps[0], "y": gaps[1], "z": gaps[2] });
    assert_eq!(summary["spectral_gap"], named);
    assert!(gaps[0] < gaps[1] && gaps[1] == gaps[2], "{gaps:?}");
}

#[test]
fn evaluations_are_at_the_start_at_multiples_and_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["evaluate"] = json!({ "every": 80, "hypergradient": 100 });
    let output = run(folder.path(), &config, 2);
    let log = log(&output);
    assert_eq!(rows(&log, "eval"), [0, 1, 2, 3, 4]);
    assert_eq!(rows(&log, "eval_iteration"), [0, 80, 100, 160, 200]);
    let exact: Vec<bool> =
        column(&log, "hypergradient_norm").iter().map(|v| v.is_finite()).collect();
    assert_eq!(exact, [true, false, true, false, true]);
    assert!(column(&log, "test_accuracy").iter().all(|v| v.is_nan()), "no images, no accuracy");
    let last = column(&log, "validation_loss")[4];
    assert_eq!(summary(&output)["final"]["validation_loss"], json!(last));
}

#[test]
fn thinning_keeps_the_first_and_the_last_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["log"] = json!({ "every": 60, "timing_every": 120 });
    let log = log(&run(folder.path(), &config, 1));
    assert_eq!(rows(&log, "iteration"), [0, 60, 120, 180, 200]);
    let timed: Vec<bool> = column(&log, "time_compute").iter().map(|t| t.is_finite()).collect();
    assert_eq!(timed, [true, false, true, false, false]);
    assert_eq!(column(&log, "upper_loss").len(), 5);
}

#[test]
fn attributes_say_what_was_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = mnist_small();
    config["iterations"] = json!(3);
    config["seed"] = json!(77);
    let output = run(folder.path(), &config, 2);
    let log = log(&output);
    assert_eq!((&*attribute(&log, "status"), &*attribute(&log, "stop_reason")), ("completed", ""));
    assert!(attribute(&log, "Conventions").starts_with("CF-"));
    assert_eq!(attribute(&log, "program_version"), env!("CARGO_PKG_VERSION"));
    let number = |name: &str| log.attr(name).and_then(|a| a.read_scalar::<i64>()).expect(name);
    assert_eq!([number("seed"), number("n_workers"), number("n_ranks")], [77, 8, 2]);

    let resolved: Value = serde_json::from_str(&attribute(&log, "config_json")).expect("JSON");
    let written = std::fs::read(output.join("config.json")).expect("a file");
    assert_eq!(resolved, serde_json::from_slice::<Value>(&written).expect("JSON"));
    let plan = plan(&config);
    assert_eq!(resolved, plan.resolved);
    assert_eq!(attribute(&log, "config_sha256"), plan.sha256_hex());
    let provenance: Value =
        serde_json::from_str(&attribute(&log, "provenance_json")).expect("JSON");
    assert_eq!(provenance["ranks"], json!(2));

    let summary = summary(&output);
    assert_eq!(summary["status"], json!("completed"));
    assert_eq!(summary["iterations"], json!(3));
    let accuracy = column(&log, "test_accuracy");
    assert_eq!(summary["final"]["test_accuracy"], json!(accuracy[1]));
}

#[test]
fn runs_of_one_process_log_side_by_side() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(&quadratic());
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (plan, output) = (&plan, folder.path().join(i.to_string()));
            scope.spawn(move || crate::process::on_threads(plan, 1, Some(&output)));
        }
    });
    let expected = column(&log(&folder.path().join("0")), "upper_loss");
    for i in 1..8 {
        let loss = column(&log(&folder.path().join(i.to_string())), "upper_loss");
        assert_eq!(loss[1..], expected[1..]);
    }
}
