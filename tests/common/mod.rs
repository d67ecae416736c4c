//! What the integration tests share: vectors, examples of the registered kinds, ranks as threads.

#![allow(dead_code)] // Each test file uses a part of it.

pub mod hyper_dual;

use std::collections::BTreeSet;
use std::ops::Range;

use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

use sobaya::comm::Comm;
use sobaya::comm::threads::{self, ThreadComm};
use sobaya::compressors::{self, Compressor};
use sobaya::config::Plan;
use sobaya::data::{Folder, Partition};
use sobaya::key::{Key, Stream};
use sobaya::net::Net;
use sobaya::packet::Packet;
use sobaya::problems::{self, Problem, ProblemContext};
use sobaya::registry::{Family, Registry};
use sobaya::run::Outcome;
use sobaya::scalar::Scalar;
use sobaya::vars::Dims;

/// Seed of the tests' own draws and of the runs that they make.
pub const SEED: u64 = 7;

/// A worker's key of an iteration, as compressors get it.
pub fn key(iteration: u64) -> Key {
    Key { iteration, ..Key::shared(SEED, Stream::CompressX).worker(3) }
}

/// Normal numbers, the same in both precisions up to rounding; `sub` tells draws apart.
pub fn normal<F: Scalar>(len: usize, sub: u32) -> Vec<F> {
    let mut rng = Key::shared(SEED, Stream::ProblemData).numbered(sub).rng();
    (0..len).map(|_| F::lit(StandardNormal.sample(&mut rng))).collect()
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
        json!({ "kind": "top-k", "ratio": 0.1 }),
        json!({ "kind": "top-k", "ratio": 1 }),
        json!({ "kind": "multi-step", "rounds": 3, "inner": { "kind": "rand-k", "ratio": 0.1 } }),
        json!({ "kind": "multi-step", "rounds": 2, "inner": { "kind": "identity" } }),
    ];
    assert_all_kinds(&compressors::registry(), &examples);
    examples
}

/// The compressor that a config object names.
pub fn compressor<F: Scalar>(config: &Value) -> Box<dyn Compressor<F>> {
    compressors::registry().build(config, ()).expect("an example builds")
}

/// The packet of C(v).
pub fn packed<F: Scalar>(compressor: &mut dyn Compressor<F>, v: &[F], key: Key) -> Vec<u8> {
    let mut bytes = vec![];
    compressor.encode(v, key, &mut bytes);
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

/// The plan of a config.
pub fn plan(config: Value) -> Plan {
    Plan::new(config).expect("a config that can be run")
}

/// Runs a config on one rank, without a log.
pub fn run(config: Value) -> Outcome {
    let outcome = sobaya::run::run(&plan(config), &mut alone(), &folder(), None);
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
    let identity = || compressor(&json!({ "kind": "identity" }));
    Net::new(comm, workers, dims, SEED, 0, [identity(), identity(), identity()])
}

/// A heterogeneous partition.
pub fn uneven() -> Partition {
    serde_json::from_value(json!({ "kind": "dirichlet", "concentration": 1 })).expect("a partition")
}
