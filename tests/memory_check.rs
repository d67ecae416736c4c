//! What `sobaya check` foretells is what runs take: memory, checkpoint and log.

mod process;

use std::fs;
use std::path::Path;

use process::{finish, mnist_small, mpirun, plan, quadratic, sobaya, summary, text, write};
use serde_json::{Value, json};
use sobaya::comm::Placement;
use sobaya::config::{Plan, Precision};
use sobaya::data::Folder;
use sobaya::log::{self, bytes};
use sobaya::run::build;
use sobaya::run::memory::Forecast;
use sobaya::scalar::Scalar;

/// Memory of the largest rank, bytes of a checkpoint's parts, and of the log.
struct Foretold {
    memory: u64,
    set: u64,
    log: log::Size,
}

fn foretell(plan: &Plan, ranks: usize) -> Foretold {
    fn of<F: Scalar>(plan: &Plan, ranks: usize) -> Foretold {
        let problem = build::problem::<F>(plan, &Folder::find(None), 0..0).expect("a problem");
        let forecast = Forecast::new(plan, &*problem).expect("a forecast");
        let log = log::Size::of(plan, ranks).expect("a log");
        let placement = Placement { workers: plan.workers, ranks };
        let memory = |rank| forecast.of_rank(placement, rank, Some(log)).total();
        let memory = (0..ranks).map(memory).max().expect("a rank");
        Foretold { memory, set: forecast.state.of_set(plan.workers), log }
    }
    match plan.precision {
        Precision::F32 => of::<f32>(plan, ranks),
        Precision::F64 => of::<f64>(plan, ranks),
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().expect("a file").len()
}

/// Length of the parts of the one set of a run that is complete.
fn length_of_set(output: &Path, iterations: u64) -> u64 {
    let set = output.join(format!("checkpoint-{iterations}"));
    let files = fs::read_dir(set).expect("a set").flatten().map(|entry| entry.path());
    files.filter(|path| !path.ends_with("manifest.json")).map(|path| length(&path)).sum()
}

fn is_within(share: f64, foretold: u64, found: u64) -> bool {
    (foretold as f64 / found as f64 - 1.0).abs() <= share
}

/// Compares on 1 and 3 ranks.
fn is_as_foretold(mut config: Value) {
    for ranks in [1, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        config["name"] = json!(format!("ranks-{ranks}"));
        let path = write(folder.path(), &config);
        let output = folder.path().join("out");
        finish(mpirun(ranks, &sobaya(&["run", text(&path), "--out", text(&output)]))).well();

        let plan = plan(&config);
        let Foretold { memory, set, log } = foretell(&plan, ranks);
        let peak = summary(&output)["peak_rss_bytes"].as_u64().expect("a number");
        let found_log = log::Size {
            journal: length(&output.join("log.journal")),
            image: length(&output.join("log.h5")),
        };
        println!("{ranks} ranks: {memory} bytes foretold, {peak} measured; {log:?}, {found_log:?}");
        assert!(is_within(0.2, memory, peak), "{memory} bytes foretold, {peak} measured");
        assert_eq!(set, length_of_set(&output, plan.iterations));
        assert!(is_within(0.1, log.journal, found_log.journal), "{log:?}, {found_log:?}");
        assert!(is_within(0.1, log.image, found_log.image), "{log:?}, {found_log:?}");

        let said = finish(sobaya(&["check", text(&path), "--ranks", &ranks.to_string()])).well();
        for (what, value) in [
            (format!("memory of the largest of {ranks} ranks   "), memory),
            ("a checkpoint, of which two are kept  ".into(), set),
        ] {
            assert!(said.out.contains(&format!("\n{what}{}\n", bytes(value))), "{}", said.out);
        }
    }
}

/// The program is nearly all, and later the log.
#[test]
fn a_small_problem_with_a_long_log() {
    let mut config = quadratic();
    config["iterations"] = json!(2500);
    config["evaluate"] = json!({ "every": 400, "hypergradient": 900 });
    is_as_foretold(config);
}

/// Samples are most.
#[test]
fn images() {
    is_as_foretold(mnist_small());
}

/// The iterate is long: feedback, momentum and a checkpoint of them are most.
#[test]
fn a_wide_network_with_momentum_at_the_workers() {
    let mut config = mnist_small();
    config["iterations"] = json!(6);
    config["problem"]["hidden"] = json!([600]);
    config["algorithm"]["momentum"] = json!("worker");
    is_as_foretold(config);
}

/// The same without compression: messages are most.
#[test]
fn a_wide_network_uncompressed() {
    let mut config = mnist_small();
    config["iterations"] = json!(6);
    config["problem"]["hidden"] = json!([600]);
    config["algorithm"]["kind"] = json!("soba");
    if let Some(keys) = config.as_object_mut() {
        keys.remove("compressor");
    }
    is_as_foretold(config);
}

/// All samples in double precision are most.
#[test]
fn exact_hypergradients_of_a_linear_model() {
    let mut config = mnist_small();
    config["iterations"] = json!(10);
    config["workers"] = json!(6);
    // Strong regularization: the lower level is solved in a few steps.
    let problem =
        json!({ "kind": "regularization-selection", "dataset": "mnist-small", "start": 3.0 });
    config["problem"] = problem;
    for step in ["alpha", "beta", "gamma"] {
        config["algorithm"][step] = json!(0.01);
    }
    config["partition"] = json!({ "kind": "iid" });
    config["evaluate"] = json!({ "every": 10, "hypergradient": "end" });
    is_as_foretold(config);
}

/// Warm factors are part of the state.
#[test]
fn low_rank() {
    let mut config = mnist_small();
    config["iterations"] = json!(10);
    config["compressor"] = json!({ "kind": "low-rank", "rank": 2 });
    is_as_foretold(config);
}

#[test]
fn what_is_too_much_is_remarked_upon() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(100_000_000);
    config["workers"] = json!(100_000);
    config["problem"] = json!({ "kind": "quadratic", "dim_upper": 20_000, "dim_lower": 10_000 });
    let path = write(folder.path(), &config);
    let said = finish(sobaya(&["check", text(&path), "--ranks", "2"])).well();
    for words in ["2 ranks hold", "travels in pieces", "raise `log.every`, now 1"] {
        let notes = said.err.lines().filter(|line| line.starts_with("sobaya: note:"));
        assert_eq!(notes.filter(|line| line.contains(words)).count(), 1, "{words}: {}", said.err);
    }
}
