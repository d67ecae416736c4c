//! What the integration tests share: vectors, examples of the registered kinds, ranks as threads.

#![allow(dead_code)] // Each test file uses a part of it.

pub mod bias;
pub mod hyper_dual;
pub mod methods;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_distr::{Distribution, StandardNormal, StudentT};
use serde_json::{Value, json};

use sobaya::algorithms::{self, AlgorithmContext};
use sobaya::comm::threads::{self, ThreadComm};
use sobaya::comm::{Comm, Placement};
use sobaya::compressors::{self, Compressor, Site};
use sobaya::config::Plan;
use sobaya::data::{Folder, Partition};
use sobaya::feedback::{self, FeedbackContext};
use sobaya::key::{Key, Stream};
use sobaya::net::{Collective, Downlink, Links, Net, Setting, Uplink};
use sobaya::packet::Packet;
use sobaya::problems::{self, Problem, ProblemContext};
use sobaya::registry::{Family, Registry};
use sobaya::run::{Options, Outcome, build};
use sobaya::scalar::Scalar;
use sobaya::simd::Level;
use sobaya::vars::{Dims, Layout, Vars};
use sobaya::workers::Workers;

/// Seed of the tests' own draws and of the runs that they make.
pub const SEED: u64 = 7;

/// Workers of the runs on the quadratic problem.
pub const WORKERS: usize = 8;

/// A worker's key of an iteration, as compressors get it.
pub fn key(iteration: u64) -> Key {
    Key { iteration, ..Key::shared(SEED, Stream::CompressX).worker(3) }
}

/// Normal numbers, the same in both precisions up to rounding; `sub` tells draws apart.
pub fn normal<F: Scalar>(len: usize, sub: u32) -> Vec<F> {
    let mut rng = Key::shared(SEED, Stream::ProblemData).numbered(sub).rng();
    (0..len).map(|_| F::lit(StandardNormal.sample(&mut rng))).collect()
}

/// Lengths around those of vectors and words, and one of several buckets.
pub const DIMS: [usize; 6] = [1, 2, 63, 64, 65, 1000];

/// Vectors on which compressors differ.
pub fn vectors<F: Scalar>(dim: usize) -> [(&'static str, Vec<F>); 5] {
    let student = StudentT::new(2.0).expect("two degrees of freedom");
    let mut rng = key(0).numbered(1).rng();
    let spike = |j: usize| F::lit(if j == dim / 2 { 1.0 } else { 1e-3 });
    [
        ("normal", normal(dim, 2)),
        ("heavy-tailed", (0..dim).map(|_| F::lit(student.sample(&mut rng))).collect()),
        ("spiky", (0..dim).map(spike).collect()),
        ("zero", vec![F::zero(); dim]),
        ("tied", (0..dim).map(|j| F::lit([-1.0, 1.0, 0.5][j % 3])).collect()),
    ]
}

/// The levels of instructions that the processor at hand has.
///
/// The level is the process's: whoever holds this is alone in choosing it.
pub struct Levels {
    _alone: MutexGuard<'static, ()>,
    levels: Vec<Level>,
}

impl Levels {
    /// Waits for other tests that choose a level, and says which levels `what` is compared on.
    pub fn of(what: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let levels: Vec<Level> =
            Level::ALL.into_iter().filter(|&level| level <= Level::best()).collect();
        let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
        println!("{what} compared on: {}", names.join(", "));
        Self { _alone: alone, levels }
    }

    /// Fails unless `body` has the same result at each level.
    pub fn agree<T: PartialEq>(&self, case: &str, mut body: impl FnMut() -> T) {
        let mut results = self.levels.iter().map(|&level| {
            assert_eq!(Level::at_most(level), level);
            (level.name(), body())
        });
        let (baseline, expected) = results.next().expect("every processor has the baseline");
        for (name, result) in results {
            assert!(result == expected, "{case}: {name} differs from {baseline}");
        }
        Level::at_most(Level::best());
    }
}

/// The numbers as bytes, to compare bits.
pub fn bits<F: Scalar>(v: &[F]) -> &[u8] {
    bytemuck::cast_slice(v)
}

/// |u - v| / |v|.
pub fn distance(u: &[f64], v: &[f64]) -> f64 {
    assert_eq!(u.len(), v.len());
    let difference: Vec<f64> = u.iter().zip(v).map(|(u, v)| u - v).collect();
    sobaya::vars::norm(&difference) / sobaya::vars::norm(v)
}

/// Fails unless the examples name every kind of the registry, and no other.
pub fn assert_all_kinds<T: Family>(registry: &Registry<T>, examples: &[Value]) {
    let registered: BTreeSet<&str> = registry.0.iter().map(|entry| entry.kind).collect();
    let named: BTreeSet<&str> =
        examples.iter().map(|example| example["kind"].as_str().expect("a name")).collect();
    assert_eq!(registered, named, "each registered {} needs an example here", T::WORD);
}

/// Parameters of every registered compressor.
pub fn compressor_examples() -> Vec<Value> {
    let examples = vec![
        json!({ "kind": "identity" }),
        json!({ "kind": "rand-k", "ratio": 0.1 }),
        json!({ "kind": "rand-k", "ratio": 0.7 }),
        json!({ "kind": "rand-k", "ratio": 0.3, "sampler": "stratified" }),
        json!({ "kind": "rand-k", "ratio": 0.03, "sampler": "stratified", "shared": true }),
        json!({ "kind": "rand-block", "ratio": 0.1 }),
        json!({ "kind": "rand-block", "ratio": 0.4, "shared": true }),
        json!({ "kind": "bernoulli", "ratio": 0.1 }),
        json!({ "kind": "bernoulli", "ratio": 1 }),
        json!({ "kind": "top-k", "ratio": 0.1 }),
        json!({ "kind": "top-k", "ratio": 1 }),
        json!({ "kind": "dithering", "levels": 7 }),
        json!({ "kind": "dithering", "levels": 5, "bucket": 10 }),
        json!({ "kind": "dithering", "levels": 300, "bucket": 64 }),
        json!({ "kind": "dithering", "levels": 3, "rounding": "nearest" }),
        json!({ "kind": "dithering", "levels": 7, "norm": "l2" }),
        json!({ "kind": "dithering", "levels": 40, "norm": "l2", "bucket": 33 }),
        json!({ "kind": "ternary" }),
        json!({ "kind": "ternary", "bucket": 7 }),
        json!({ "kind": "natural" }),
        json!({ "kind": "sign" }),
        json!({ "kind": "multi-step", "rounds": 2, "inner": { "kind": "natural" } }),
        json!({ "kind": "top-k", "ratio": 0.1, "index": "raw" }),
        json!({ "kind": "top-k", "ratio": 0.3, "bits": 32, "index": "rice" }),
        json!({ "kind": "top-k", "ratio": 0.1, "bits": 16 }),
        json!({ "kind": "top-k", "ratio": 0.3, "bits": 8, "scope": "layer" }),
        json!({ "kind": "top-k", "ratio": 0.1, "bits": 4, "index": "raw" }),
        json!({ "kind": "top-k", "ratio": 0.5, "bits": 4 }),
        json!({ "kind": "top-k", "ratio": 1, "bits": 4 }),
        json!({ "kind": "top-k", "ratio": 0.1, "bits": 1 }),
        json!({ "kind": "multi-step", "rounds": 3, "inner": { "kind": "rand-k", "ratio": 0.1 } }),
        json!({ "kind": "multi-step", "rounds": 2, "inner": { "kind": "identity" } }),
        json!({ "kind": "multi-step", "rounds": 3, "supports": "disjoint",
                "inner": { "kind": "rand-k", "ratio": 0.05, "shared": true } }),
        json!({ "kind": "multi-step", "rounds": 2, "supports": "disjoint",
                "inner": { "kind": "rand-k", "ratio": 0.2, "sampler": "stratified" } }),
    ];
    assert_all_kinds(&compressors::registry(), &examples);
    examples
}

/// The compressor that a config object names, for vectors of this length.
pub fn compressor<F: Scalar>(config: &Value, dim: usize) -> Box<dyn Compressor<F>> {
    compressors::registry().build(config, Site::new(&Layout::flat(dim))).expect("an example builds")
}

/// The packet of C(v).
pub fn packed<F: Scalar>(compressor: &mut dyn Compressor<F>, v: &[F], key: Key) -> Vec<u8> {
    let mut bytes = vec![];
    compressor.encode(v, key, &mut bytes).expect("a finite vector");
    bytes
}

/// out += scale C(v) from the bytes of a packet that this compressor wrote.
pub fn add_packed<F: Scalar>(
    compressor: &mut dyn Compressor<F>,
    bytes: &[u8],
    key: Key,
    scale: F,
    out: &mut [F],
) {
    let (packet, rest) = Packet::split(bytes).expect("a packet just written");
    assert!(rest.is_empty(), "{} bytes behind the packet", rest.len());
    compressor.decode_add(packet, key, scale, out).expect("a packet just written");
}

/// The folder that data sets lie in; the tests use the embedded one.
pub fn folder() -> Folder {
    Folder::find(None)
}

/// A data set of the user's own: 480 samples with 9 features of so many classes, in an svmlight file
/// that is written once. Sparse ones have two entries each.
pub fn svmlight(classes: usize, sparse: bool) -> Value {
    let name = format!("{classes}-{}.svm", if sparse { "sparse" } else { "dense" });
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let values = normal::<f64>(480 * 9, 11);
    let mut text = String::new();
    for (i, row) in values.chunks_exact(9).enumerate() {
        let class = (i * 5 + usize::from(row[0] > 0.3)) % classes;
        text += &class.to_string();
        let kept = |j: &usize| !sparse || [i % 9, (i * i + 4) % 9].contains(j);
        for j in (0..9).filter(kept) {
            text += &format!(" {}:{}", j + 1, row[j] + 0.5 * class as f64);
        }
        text += "\n";
    }
    // Tests and ranks run side by side: whoever reads finds a whole file.
    let own = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let own = path.with_extension(own);
    std::fs::write(&own, text).expect("the build's folder is writable");
    std::fs::rename(&own, &path).expect("the build's folder is writable");
    json!({ "format": "svmlight", "train": path, "test_fraction": 0.1, "features": 9 })
}

/// Parameters of every registered problem.
pub fn problem_examples() -> Vec<Value> {
    let quadratic = |noise: f64| {
        json!({ "kind": "quadratic", "dim_upper": 12, "dim_lower": 9, "heterogeneity": 0.7,
            "noise": noise })
    };
    let mut examples = vec![quadratic(0.0), quadratic(0.3)];
    for activation in ["tanh", "relu", "softplus"] {
        for hidden in [json!([5]), json!([6, 4])] {
            examples.push(json!({ "kind": "hyper-representation", "dataset": "mnist-small",
                "hidden": hidden, "activation": activation, "batch_lower": 8, "batch_upper": 6 }));
        }
    }
    examples[2]["sampler"] = json!("slice");
    // Short slices: they leave out the samples at the ends more often.
    for (sampler, lower, upper) in [("uniform", 12, 6), ("slice", 4, 2)] {
        examples.push(json!({ "kind": "hyper-cleaning", "dataset": "mnist-small", "samples": 300,
            "batch_lower": lower, "batch_upper": upper, "sampler": sampler, "l2": 0.05 }));
    }
    examples
        .push(json!({ "kind": "policy-evaluation", "states": 7, "features": 4, "batch_lower": 2,
        "batch_upper": 3 }));
    examples.extend(regularization_examples());
    assert_all_kinds(problems::registry(), &examples);
    examples
}

/// The selection of regularization on every kind of samples and with every kind of weights.
pub fn regularization_examples() -> Vec<Value> {
    let on = |dataset: Value| {
        json!({ "kind": "regularization-selection", "dataset": dataset, "batch_lower": 20,
            "batch_upper": 9 })
    };
    let with = |mut problem: Value, more: Value| {
        for (key, value) in more.as_object().expect("keys") {
            problem[key] = value.clone();
        }
        problem
    };
    // Short ones, as above.
    let slice = json!({ "sampler": "slice", "intercept": true, "start": "random",
        "batch_lower": 4, "batch_upper": 2 });
    vec![
        on(svmlight(2, false)),
        with(on(svmlight(2, false)), slice.clone()),
        with(on(svmlight(2, false)), json!({ "weights": "class", "scale": "standard" })),
        on(svmlight(2, true)),
        with(on(svmlight(2, true)), slice.clone()),
        on(svmlight(3, false)),
        with(on(svmlight(3, false)), slice),
        with(
            on(svmlight(3, true)),
            json!({ "weights": "feature", "intercept": true, "start": -2 }),
        ),
    ]
}

/// The plan of a config.
pub fn plan(config: Value) -> Plan {
    Plan::new(config).expect("a config that can be run")
}

/// Runs a config on one rank, without a log.
pub fn run(config: Value) -> Outcome {
    let outcome = sobaya::run::run(&plan(config), &mut alone(), &folder(), &Options::new(None));
    outcome.expect("the run succeeds").expect("the only rank is the server")
}

/// The only rank of a world of one.
pub fn alone() -> ThreadComm {
    threads::world(1).pop().expect("a world of one rank")
}

/// What `body` returns on each of `ranks` threads, in rank order.
pub fn on_ranks<T: Send>(ranks: usize, body: impl Fn(&mut dyn Comm) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (threads::world(ranks).into_iter())
            .map(|mut comm| scope.spawn(move || body(&mut comm)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no rank panics")).collect()
    })
}

/// The part of a problem that hosts some of `workers` workers, its data dealt out unevenly.
pub fn problem<F: Scalar>(
    config: &Value,
    workers: usize,
    hosted: Range<usize>,
) -> Box<dyn Problem<F>> {
    let folder = folder();
    let partition = uneven();
    let context = ProblemContext {
        seed: SEED,
        workers,
        hosted,
        partition: Some(&partition),
        folder: &folder,
    };
    problems::registry().build(config, context).expect("an example builds")
}

/// A net of `workers` workers on the ranks of `comm` that compresses nothing.
pub fn uncompressed_net<F: Scalar>(comm: &mut dyn Comm, workers: usize, dims: Dims) -> Net<'_, F> {
    let identity = [(); 3].map(|()| json!({ "kind": "identity" }));
    let hosted = Placement { workers, ranks: comm.ranks() }.hosted(comm.rank());
    let links = links(&identity, &json!({ "kind": "none" }), dims, hosted);
    Net::new(comm, setting(workers, dims), links)
}

/// What a net of the tests is made for.
pub fn setting(workers: usize, dims: Dims) -> Setting {
    Setting { workers, dims, seed: SEED, fingerprint: 0 }
}

/// Links with these compressors of x, y and z and this feedback, and a dense way down.
pub fn links<F: Scalar>(
    compressors: &[Value; 3],
    feedback: &Value,
    dims: Dims,
    hosted: Range<usize>,
) -> Links<F> {
    let registry = feedback::registry();
    let facts = registry.facts(feedback);
    let coder = |b: usize| {
        let layout = Layout::flat(dims.blocks()[b]);
        let coder = compressors::coders().build::<F>(&compressors[b], Site::new(&layout));
        *coder.expect("an example builds")
    };
    let up = [0, 1, 2].map(|b| {
        let coder = coder(b);
        Uplink { gain: facts.gain(coder.bound()), coder, every: 1, fed: true }
    });
    let bounds = up.each_ref().map(|link| link.coder.bound());
    let context = FeedbackContext { dims, hosted, bounds };
    let feedback = registry.build(feedback, context).expect("an example builds");
    let collective = Collective::Star;
    Links { up, feedback, down: Downlink::Dense, collective, neighbours: None }
}

/// (x, y, z) after some iterations on a problem, with the algorithm's own feedback.
pub fn iterate<F: Scalar>(
    problem: &Value,
    algorithm: &Value,
    compressor: &Value,
    iterations: u64,
) -> Vars<f64> {
    if algorithms::registry().facts(algorithm).neighbours {
        let config = json!({ "problem": problem, "algorithm": algorithm });
        return mean_iterate::<F>(config, iterations).0;
    }
    let facts = problems::registry().facts(problem);
    let problem = self::problem::<F>(problem, WORKERS, 0..WORKERS);
    let start = problem.start();
    let comm = &mut alone();
    let compressors = [(); 3].map(|()| compressor.clone());
    let feedback = algorithms::registry().facts(algorithm).feedback[0];
    let links = links(&compressors, &json!({ "kind": feedback }), start.dims(), 0..WORKERS);
    let mut net = Net::<F>::new(comm, setting(WORKERS, start.dims()), links);
    let context = AlgorithmContext { start, hosted: net.hosted(), problem: facts, graphs: None };
    let algorithm = algorithms::registry().build::<F>(algorithm, context);
    let mut algorithm = algorithm.expect("an example builds");
    let mut workers = Workers::new(problem);
    for k in 0..iterations {
        algorithm.step(k, &mut workers, &mut net).expect("the only rank");
    }
    algorithm.iterate().wide()
}

/// The mean of the agents' (x, y, z) after some iterations without a server, and how far they are apart in
/// each. Of a config the keys `name`, `seed` and, if it has none, `workers` are given here.
pub fn mean_iterate<F: Scalar>(mut config: Value, iterations: u64) -> (Vars<f64>, [f64; 3]) {
    config["name"] = json!("test");
    config["seed"] = json!(SEED);
    config["iterations"] = json!(iterations);
    if config["workers"].is_null() {
        config["workers"] = json!(WORKERS);
    }
    let plan = plan(config);
    let hosted = 0..plan.workers;
    let problem = build::problem::<F>(&plan, &folder(), hosted.clone()).expect("a good plan");
    let links = build::links::<F>(&plan, &*problem, hosted.clone()).expect("a good plan");
    let mut algorithm = build::algorithm::<F>(&plan, &*problem, hosted).expect("a good plan");
    let mut mean = problem.start();
    let comm = &mut alone();
    let mut net = Net::<F>::new(comm, setting(plan.workers, mean.dims()), links);
    let mut workers = Workers::new(problem);
    for k in 0..iterations {
        algorithm.step(k, &mut workers, &mut net).expect("the only rank");
    }
    let apart = algorithm.show(iterations, &mut net, &mut mean).expect("the only rank");
    (mean.wide(), apart)
}

/// A heterogeneous partition.
pub fn uneven() -> Partition {
    serde_json::from_value(json!({ "kind": "dirichlet", "concentration": 1 })).expect("a partition")
}
