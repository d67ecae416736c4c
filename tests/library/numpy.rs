//! Losses, directions, exact solutions and metrics of the problems are those that NumPy finds in f64.
//!
//! What defines each problem, a point, and what the program makes of them there go to a file;
//! `tests/numpy/evaluate.py` evaluates the definitions and compares. The interpreter is `python3`, and
//! nothing is compared if it has no NumPy; `SOBAYA_PYTHON` names one that must have it.

use std::path::Path;
use std::process::Command;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::{
    SEED, alone, assert_all_kinds, folder, normal, problem, svmlight, uncompressed_net, uneven,
};
use sobaya::data::{Label, Loaded, Request, Sampler, Scale, Split, load};
use sobaya::evaluate::{self, Evaluation};
use sobaya::key::{Key, Stream};
use sobaya::problems::{self, Draw, Problem};
use sobaya::vars::{Block, Blocks, Dims, Vars, add_scaled};

const WORKERS: usize = 2;
const CLASSES: usize = 3;
/// Compared over a whole run by analysis/tests/test_regularization.py.
const ELSEWHERE: &str = "regularization-selection";

/// Parameters of every other problem; those that the script uses are written out, defaults or not.
fn examples() -> Vec<Value> {
    // Beyond 128 unknowns the program solves by conjugate gradients.
    let mut examples = [5, 130]
        .map(|dim| {
            json!({ "kind": "quadratic", "dim_upper": 7, "dim_lower": dim, "heterogeneity": 0.7,
                "noise": 0.3, "mu": 0.2, "data_seed": 4 })
        })
        .to_vec();
    examples
        .push(json!({ "kind": "policy-evaluation", "states": 6, "features": 3, "discount": 0.8,
        "heterogeneity": 0.5, "batch_lower": 2, "batch_upper": 4, "data_seed": 3 }));
    let mut on_samples = |kind: &str, sparse: bool, sampler: &str, more: Value| {
        let mut example = json!({ "kind": kind, "dataset": svmlight(CLASSES, sparse),
            "samples": 60, "validation_fraction": 0.3, "l2": 0.05, "batch_lower": 8,
            "batch_upper": 5, "sampler": sampler });
        for (key, value) in more.as_object().expect("keys") {
            example[key] = value.clone();
        }
        examples.push(example);
    };
    let mlp =
        |hidden: &[usize], activation: &str| json!({ "hidden": hidden, "activation": activation });
    on_samples("hyper-representation", false, "uniform", mlp(&[5, 4], "tanh"));
    on_samples("hyper-representation", true, "uniform", mlp(&[6, 4, 3], "relu"));
    on_samples("hyper-representation", false, "slice", mlp(&[4, 3], "softplus"));
    let corruption = json!({ "corruption": 0.5 });
    on_samples("hyper-cleaning", false, "uniform", corruption.clone());
    on_samples("hyper-cleaning", true, "slice", corruption);

    let elsewhere = json!({ "kind": ELSEWHERE });
    assert_all_kinds(problems::registry(), &[&examples[..], &[elsewhere]].concat());
    examples
}

fn parameter<T: DeserializeOwned>(config: &Value, key: &str) -> T {
    serde_json::from_value(config[key].clone()).expect("a parameter of an example")
}

/// The mini-batches that are compared: neither the first of the iteration nor of the run.
fn draw(worker: usize) -> Draw {
    Draw { lower: 3, upper: 1, ..Draw::first(SEED, worker, 5) }
}

/// What `write` puts in a vector of this length.
fn written(len: usize, write: impl FnOnce(&mut [f64])) -> Vec<f64> {
    let mut out = vec![f64::NAN; len];
    write(&mut out);
    out
}

/// The normal numbers that a worker's quadratic is made of: in the order S, J, b, t, q.
fn quadratic_normals(dims: Dims, key: Key) -> Value {
    let Dims { upper: p, lower: q } = dims;
    let mut rng = key.rng();
    let mut draw =
        |len: usize| -> Vec<f64> { (0..len).map(|_| StandardNormal.sample(&mut rng)).collect() };
    json!({ "s": draw(q * q), "j": draw(q * p), "b": draw(q), "t": draw(q), "q": draw(p) })
}

/// A worker's quadratic, and the noise of its draw on D_x, D_y and D_z.
fn quadratic(config: &Value, dims: Dims, worker: usize) -> Value {
    let key = Key::shared(parameter(config, "data_seed"), Stream::ProblemData);
    let mut rng = draw(worker).key(Stream::Noise).rng();
    let noise: Vec<f64> = (0..dims.total()).map(|_| StandardNormal.sample(&mut rng)).collect();
    json!({
        "common": quadratic_normals(dims, key),
        "own": quadratic_normals(dims, key.numbered(1).worker(worker)),
        "noise": noise,
    })
}

/// The draws that a worker's policy evaluation is made of, and those of its mini-batches.
fn policy_evaluation(config: &Value, dims: Dims, worker: usize) -> Value {
    let Dims { upper: features, lower: states } = dims;
    let key = Key::shared(parameter(config, "data_seed"), Stream::ProblemData);
    let uniform = |rng: &mut ChaCha8Rng, len: usize| -> Vec<f64> {
        (0..len).map(|_| rng.random::<f64>()).collect()
    };
    let mut rng = key.rng();
    let [features, next, rewards] =
        [features, states, states].map(|columns| uniform(&mut rng, states * columns));
    let mut rng = key.numbered(1).worker(worker).rng();
    let own: Vec<f64> = (0..states * states).map(|_| StandardNormal.sample(&mut rng)).collect();
    let lower: usize = parameter(config, "batch_lower");
    let mut rng = draw(worker).key(Stream::BatchLower).rng();
    let chosen = draw(worker).batch(Stream::BatchUpper, states, parameter(config, "batch_upper"));
    json!({ "features": features, "next": next, "rewards": rewards, "own": own,
        "lower": uniform(&mut rng, states * lower), "upper": chosen })
}

/// The samples that an example's problem is given.
fn loaded(config: &Value) -> Loaded<f64> {
    let loaded = load(&Request {
        dataset: &parameter(config, "dataset"),
        folder: &folder(),
        partition: &uneven(),
        workers: WORKERS,
        hosted: 0..WORKERS,
        validation: parameter(config, "validation_fraction"),
        samples: parameter(config, "samples"),
        scale: Scale::None,
        seed: SEED,
    });
    loaded.expect("the samples of an example load")
}

fn rows(split: &Split<f64>) -> Vec<Vec<f64>> {
    let mut room = vec![];
    let rows = split.features.dense(0..split.len(), &mut room);
    rows.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// A worker's samples by level, and which of them its mini-batches hold.
fn samples(config: &Value, loaded: &Loaded<f64>, worker: usize) -> Value {
    let shard = &loaded.shards[worker];
    let level = |split: &Split<f64>, batch: Option<(&str, Stream)>| {
        let batch = batch.map(|(size, stream)| {
            let mut positions = vec![0; parameter(config, size)];
            let sampler: Sampler = parameter(config, "sampler");
            sampler.indices(split.len(), draw(worker).key(stream), &mut positions);
            positions
        });
        json!({ "features": rows(split), "labels": split.labels, "batch": batch })
    };
    json!({
        "lower": level(&shard.lower, Some(("batch_lower", Stream::BatchLower))),
        "upper": level(&shard.upper, Some(("batch_upper", Stream::BatchUpper))),
        "test": level(&shard.test, None),
    })
}

/// The labels that a worker of hyper-cleaning trains on, found out by probing: with Y = a_j e_c' the
/// score of class c is the only one above 0 on sample j, whose loss then is below ln(classes) just
/// if c is its label.
fn trained_labels(problem: &dyn Problem<f64>, loaded: &Loaded<f64>, worker: usize) -> Vec<Label> {
    let start: usize = loaded.sizes[..worker].iter().map(|[lower, ..]| *lower).sum();
    let label_of = |(j, row): (usize, Vec<f64>)| {
        let fits = |&class: &usize| {
            let mut y = vec![0.0; row.len() * CLASSES];
            y.iter_mut().skip(class).step_by(CLASSES).zip(&row).for_each(|(y, a)| *y = *a);
            let losses = written(problem.dims().upper, |out| {
                problem.sample_losses(worker, &y, out);
            });
            losses[start + j] < (CLASSES as f64).ln()
        };
        (0..CLASSES).find(fits).expect("a sample has a label") as Label
    };
    rows(&loaded.shards[worker].lower).into_iter().enumerate().map(label_of).collect()
}

/// Everything that the program finds out about a worker at (x, y, z).
fn found(problem: &mut dyn Problem<f64>, worker: usize, at: &Vars<f64>) -> Value {
    let Dims { upper: p, lower: q } = at.dims();
    let (y, z) = (at.y(), at.z());
    let mut directions = Vars::zeros(at.dims());
    let losses = problem.directions(draw(worker), Blocks::ALL, at, &mut directions);
    let gradient_x = written(p, |out| problem.lower_gradient_x(draw(worker), at, out));
    let metrics = problem.metrics(worker, at);
    let full = problem.full(worker, at.x());
    let mut found = json!({
        "upper_loss": losses.upper,
        "lower_loss": losses.lower,
        "direction_x": directions.x(),
        "direction_y": directions.y(),
        "direction_z": directions.z(),
        "lower_gradient_x": gradient_x,
        "full_lower_gradient": written(q, |out| full.lower_gradient(y, out)),
        "full_lower_hessian": written(q, |out| full.lower_hessian(y, z, out)),
        "full_upper_gradient": written(q, |out| full.upper_gradient(y, out)),
        "full_hypergradient": written(p, |out| full.hypergradient(y, z, out)),
        "validation_loss": metrics.validation_loss,
        "test_correct": metrics.test_correct,
        "test_loss": metrics.test_loss,
    });
    if problem.corrupted().is_some() {
        let mut losses = vec![0.0; p];
        problem.sample_losses(worker, y, &mut losses);
        found["sample_losses"] = json!(losses);
    }
    found
}

/// y*, z*, the hypergradient and every metric.
fn evaluation(problem: &mut dyn Problem<f64>, at: &Vars<f64>) -> Value {
    let comm = &mut alone();
    let mut net = uncompressed_net::<f64>(comm, WORKERS, at.dims());
    let exact = evaluate::exact(&mut net, &*problem, at, WORKERS).expect("one rank");
    let exact = exact.expect("a solution");
    let metrics = evaluate::metrics(&mut net, problem, at, WORKERS).expect("one rank");
    let metrics = evaluate::with_solution(&mut net, problem, at, WORKERS, metrics);
    let metrics = metrics.expect("one rank").expect("a solution");
    let mut found = json!({ "y": exact.y, "z": exact.z, "hypergradient": exact.hypergradient });
    for ((name, _), value) in Evaluation::METRICS.into_iter().zip(metrics.values()) {
        found[name] = json!(value);
    }
    if let Some(corrupted) = problem.corrupted() {
        found["corrupted"] = json!(corrupted.iter().map(|&c| u8::from(c)).collect::<Vec<_>>());
    }
    found
}

/// One problem: its definition, a point, and what the program finds there.
fn case(config: &Value) -> Value {
    let mut problem = problem::<f64>(config, WORKERS, 0..WORKERS);
    let mut at = problem.start();
    let dims = at.dims();
    add_scaled(at.as_mut_slice(), 0.5, &normal(dims.total(), 5));
    let loaded = config.get("dataset").map(|_| loaded(config));
    let workers: Vec<Value> = (0..WORKERS)
        .map(|worker| {
            let mut definition = match &loaded {
                Some(loaded) => samples(config, loaded, worker),
                None if config["kind"] == "quadratic" => quadratic(config, dims, worker),
                None => policy_evaluation(config, dims, worker),
            };
            if let (Some(loaded), Some(_)) = (&loaded, problem.corrupted()) {
                definition["trained"] = json!(trained_labels(&*problem, loaded, worker));
            }
            json!({ "definition": definition, "found": found(&mut *problem, worker, &at) })
        })
        .collect();
    let point = Block::ALL.map(|block| at.block(block).to_vec());
    json!({ "problem": config, "classes": CLASSES, "point": point, "workers": workers,
        "evaluation": evaluation(&mut *problem, &at) })
}

/// The interpreter with NumPy, or `None`.
///
/// # Panics
/// If `SOBAYA_PYTHON` names one that has no NumPy.
fn interpreter() -> Option<String> {
    let named = std::env::var("SOBAYA_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let has_numpy = (Command::new(&python).args(["-c", "import numpy"]).output())
        .is_ok_and(|output| output.status.success());
    assert!(has_numpy || named.is_none(), "SOBAYA_PYTHON: {python} does not run or has no NumPy");
    has_numpy.then_some(python)
}

#[test]
fn numpy_finds_the_same_losses_derivatives_and_solutions() {
    let cases: Vec<Value> = examples().iter().map(case).collect();
    let Some(python) = interpreter() else {
        println!("not compared: python3 has no NumPy; set SOBAYA_PYTHON to one that has");
        return;
    };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("numpy.json");
    std::fs::write(&file, Value::from(cases).to_string()).expect("the build's folder is writable");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/numpy/evaluate.py");
    let output = Command::new(python).arg(script).arg(file).output().expect("it ran before");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
