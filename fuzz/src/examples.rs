//! The parameters of the decoders: every value code, index code, norm and rounding of each kind.

use serde_json::{Value, json};
use sobaya::scalar::Scalar;
use sobaya::vars::Layout;

/// One entry, some, and more than a block of any codec holds.
const DIMS: [usize; 3] = [1, 100, 5000];
/// More than one chunk of 16-bit positions.
const CHUNKS: usize = 70_000;

/// Parameters and dimensions of the decoders of a kind.
pub fn of(kind: &str) -> Vec<(Value, usize)> {
    let mut all: Vec<(Value, usize)> = parameters(kind)
        .into_iter()
        .flat_map(|mut config| {
            config["kind"] = kind.into();
            DIMS.map(|dim| (config.clone(), dim))
        })
        .collect();
    if kind == "top-k" {
        let positions = json!({ "kind": kind, "ratio": 0.002, "bits": 4, "index": "raw" });
        all.push((positions, CHUNKS));
    }
    all
}

fn parameters(kind: &str) -> Vec<Value> {
    match kind {
        "identity" | "natural" | "sign" => vec![json!({})],
        "rand-k" => vec![
            json!({ "ratio": 0.1 }),
            json!({ "ratio": 0.7 }),
            json!({ "ratio": 0.3, "sampler": "stratified" }),
            json!({ "ratio": 0.03, "sampler": "stratified", "shared": true }),
        ],
        "rand-block" => vec![json!({ "ratio": 0.1 }), json!({ "ratio": 0.8, "shared": true })],
        "bernoulli" => vec![json!({ "ratio": 0.1 }), json!({ "ratio": 1 })],
        "dithering" => dithering(),
        "ternary" => vec![json!({}), json!({ "bucket": 7 })],
        "top-k" => top_k(),
        "multi-step" => multi_step(),
        _ => panic!("there are no examples of {kind}"),
    }
}

fn dithering() -> Vec<Value> {
    vec![
        json!({ "levels": 7 }),
        json!({ "levels": 5, "bucket": 10 }),
        json!({ "levels": 127, "bucket": 33 }),
        json!({ "levels": 300, "bucket": 64 }),
        json!({ "levels": 32767 }),
        json!({ "levels": 1, "rounding": "nearest" }),
        json!({ "levels": 3, "rounding": "nearest" }),
        json!({ "levels": 1, "norm": "l2" }),
        json!({ "levels": 40, "norm": "l2", "bucket": 33 }),
        json!({ "levels": 127, "norm": "l2" }),
    ]
}

fn top_k() -> Vec<Value> {
    let mut all = vec![
        json!({ "ratio": 1 }),
        json!({ "ratio": 1, "bits": 4 }),
        json!({ "ratio": 0.3, "bits": 8, "scope": "layer" }),
        json!({ "ratio": 0.9, "bits": 1, "index": "rice" }),
    ];
    for index in ["raw", "rice"] {
        for bits in [64, 32, 16, 8, 4, 1] {
            all.push(json!({ "ratio": 0.1, "bits": bits, "index": index }));
        }
    }
    all
}

fn multi_step() -> Vec<Value> {
    let disjoint = |inner: Value| json!({ "rounds": 2, "supports": "disjoint", "inner": inner });
    vec![
        json!({ "rounds": 2, "inner": { "kind": "identity" } }),
        json!({ "rounds": 2, "inner": { "kind": "natural" } }),
        json!({ "rounds": 3, "inner": { "kind": "rand-k", "ratio": 0.1 } }),
        json!({ "rounds": 2, "inner": { "kind": "rand-block", "ratio": 0.4 } }),
        json!({ "rounds": 2, "inner": { "kind": "bernoulli", "ratio": 0.3 } }),
        json!({ "rounds": 2, "inner": { "kind": "dithering", "levels": 5, "bucket": 10 } }),
        json!({ "rounds": 2, "inner": { "kind": "dithering", "levels": 3, "norm": "l2" } }),
        json!({ "rounds": 2, "inner": { "kind": "ternary" } }),
        disjoint(json!({ "kind": "rand-k", "ratio": 0.05, "shared": true })),
        disjoint(json!({ "kind": "rand-k", "ratio": 0.2, "sampler": "stratified" })),
    ]
}

/// Whether a payload of this kind cannot name numbers that are not finite, whatever its bytes.
pub fn is_coded(config: &Value, bytes: usize) -> bool {
    match config["kind"].as_str() {
        Some("natural" | "dithering" | "ternary" | "sign") => true,
        Some("top-k") => config["bits"].as_u64().is_some_and(|bits| bits != 8 * bytes as u64),
        _ => false,
    }
}

/// Two matrices, if there is enough to divide.
pub fn layout(dim: usize) -> Layout {
    let rows = dim / 10;
    let matrices = [[rows, 7], [dim - 7 * rows, 1]];
    Layout::new(matrices.into_iter().filter(|[rows, _]| *rows > 0))
}

/// A vector without structure that a compressor would notice.
pub fn vector<F: Scalar>(dim: usize) -> Vec<F> {
    (0..dim).map(|j| F::lit((j * 7919 % 1009) as f64 / 500.0 - 1.0)).collect()
}
