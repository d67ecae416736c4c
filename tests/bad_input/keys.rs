//! Configs that are refused, and what the message must say.

/// Key, value, and further words of the message about a run on images. Empty: the key is removed.
pub const ON_IMAGES: &[(&str, &str, &[&str])] = &[
    ("iteratons", "5", &["`iteratons`", "did you mean \"iterations\"?"]),
    ("problem.hiden", "[5]", &["`problem.hiden`", "did you mean \"hidden\"?"]),
    ("partition.concentrate", "1", &["`partition.concentrate`", "\"concentration\""]),
    ("algorithm.alhpa", "1", &["`algorithm.alhpa`", "did you mean \"alpha\"?"]),
    ("compressor.rate", "1", &["`compressor.rate`", "did you mean \"ratio\"?"]),
    ("evaluate", r#"{"evry": 5}"#, &["`evaluate.evry`", "did you mean \"every\"?"]),
    ("log", r#"{"timing": 5}"#, &["`log.timing`", "every, timing_every"]),
    ("name", "5", &["`name`"]),
    ("name", r#""a/b""#, &["`name`", "a/b"]),
    ("name", r#""""#, &["`name`"]),
    ("name", "", &["`name`", "missing"]),
    ("seed", "-1", &["`seed`", "-1"]),
    ("precision", r#""f16""#, &["`precision`", "f16", "f64"]),
    ("workers", r#""eight""#, &["`workers`", "eight"]),
    ("workers", "0", &["`workers`", "from 1", "found 0"]),
    ("workers", "1.5", &["`workers`", "whole number"]),
    ("workers", "1e10", &["`workers`", "1e9"]),
    ("workers", "1000", &["`partition`", "fewer workers"]),
    ("iterations", "0", &["`iterations`", "found 0"]),
    ("iterations", "", &["`iterations`", "missing"]),
    ("algorithm", "", &["`algorithm`", "missing"]),
    ("algorithm", "7", &["`algorithm`", "object"]),
    ("algorithm.kind", "", &["`algorithm.kind`", "missing"]),
    ("algorithm.kind", r#""ef-sobaa""#, &["`algorithm.kind`", "did you mean \"ef-soba\"?"]),
    ("algorithm.alpha", "", &["`algorithm`", "missing", "`alpha`"]),
    ("algorithm.alpha", "0", &["`algorithm.alpha`", "above 0"]),
    ("algorithm.beta", r#""0.1""#, &["`algorithm.beta`", "0.1"]),
    ("algorithm.theta", "2", &["`algorithm.theta`", "at most 1", "found 2"]),
    ("algorithm.momentum", r#""both""#, &["`algorithm.momentum`", "both", "worker"]),
    ("compressor", "", &["`compressor`", "missing", "ef-soba"]),
    ("compressor.kind", r#""randk""#, &["`compressor.kind`", "did you mean \"rand-k\"?"]),
    ("compressor.ratio", "0", &["`compressor.ratio`", "above 0"]),
    ("compressor.ratio", "-1", &["`compressor.ratio`", "-1"]),
    ("compressor.ratio", "2", &["`compressor.ratio`", "at most 1"]),
    (
        "compressor",
        r#"{"x": {"kind": "identity"}, "y": {"kind": "identity"}}"#,
        &["`compressor.z`", "missing"],
    ),
    (
        "compressor",
        r#"{"kind": "multi-step", "rounds": 2, "inner": {"kind": "top-k", "ratio": 0.1}}"#,
        &["`compressor.inner.kind`", "biased"],
    ),
    (
        "compressor",
        r#"{"kind": "multi-step", "rounds": 0, "inner": {"kind": "identity"}}"#,
        &["`compressor.rounds`", "0"],
    ),
    (
        "algorithm",
        r#"{"kind": "soba", "alpha": 1, "beta": 1, "gamma": 1}"#,
        &["`compressor`", "uncompressed"],
    ),
    ("problem.kind", r#""quadratc""#, &["`problem.kind`", "did you mean \"quadratic\"?"]),
    ("problem.dataset", r#""mnst""#, &["`problem.dataset`", "mnst", "mnist-small"]),
    ("problem.hidden", "[]", &["`problem.hidden`", "at least one"]),
    ("problem.hidden", "[16, 0]", &["`problem.hidden[1]`", "found 0"]),
    ("problem.validation_fraction", "1", &["`problem.validation_fraction`", "below 1"]),
    ("partition.kind", r#""idd""#, &["`partition.kind`", "idd", "iid"]),
    ("evaluate", r#"{"hypergradient": 0}"#, &["`evaluate.hypergradient`", "1 or more"]),
    (
        "problem",
        r#"{"kind": "hyper-representation", "dataset": "mnist-small", "sampler": "slice",
            "batch_lower": 10000}"#,
        &["`problem.batch_lower`", "10000", "slice"],
    ),
];

/// The same about a run on the quadratic.
pub const ON_QUADRATIC: &[(&str, &str, &[&str])] = &[
    ("partition", r#"{"kind": "iid"}"#, &["`partition`", "quadratic"]),
    ("problem.heterogeneity", "-1", &["`problem.heterogeneity`", "0 or more"]),
    ("problem.dim_lower", "0", &["`problem.dim_lower`", "found 0"]),
];

/// The same about how the vectors of c-soba on images travel.
pub const ON_TRAVEL: &[(&str, &str, &[&str])] = &[
    ("compressor.every", "0", &["`compressor.every`", "found 0"]),
    ("compressor.every", "2", &["`compressor.x.every`", "without feedback", "residual"]),
    ("compressor", r#"{"kind": "top-k", "ratio": 0.1, "bits": 5}"#, &["`compressor.bits`", "5"]),
    ("compressor", r#"{"kind": "top-k", "ratio": 0.1, "bits": 64}"#, &["`compressor", "64"]),
    (
        "compressor",
        r#"{"kind": "multi-step", "rounds": 2, "inner": {"kind": "rand-k", "ratio": 0.1, "shared": true}}"#,
        &["`compressor.inner.shared`", "not summed"],
    ),
    ("compressor", r#"{"kind": "dithering", "levels": 0}"#, &["`compressor.levels`", "0"]),
    ("compressor", r#"{"kind": "dithering", "norm": "l3"}"#, &["`compressor.norm`", "l3", "l2"]),
    (
        "compressor",
        r#"{"kind": "dithering", "norm": "l2", "rounding": "nearest"}"#,
        &["`compressor.rounding`", "l2"],
    ),
    (
        "compressor",
        r#"{"kind": "low-rank", "rank": 1, "factors": {"kind": "low-rank", "rank": 1}}"#,
        &["`compressor.factors.kind`", "low-rank"],
    ),
    ("feedback", r#"{"kind": "residul"}"#, &["`feedback.kind`", "did you mean \"residual\"?"]),
    ("feedback", r#"{"kind": "ef21"}"#, &["`feedback.kind`", "c-soba", "none, residual"]),
    ("feedback", r#"{"kind": "residual", "eta": 1}"#, &["`feedback.eta`", "unknown key"]),
    ("downlink", r#"{"kind": "dens"}"#, &["`downlink", "dens"]),
    ("downlink", r#"{"kind": "difference"}"#, &["`downlink", "compressor"]),
    (
        "downlink",
        r#"{"kind": "difference", "compressor": {"kind": "low-rank", "rank": 1}}"#,
        &["`downlink.compressor.kind`", "low-rank"],
    ),
    ("downlink", r#"{"kind": "dense", "compressor": {}}"#, &["`downlink", "compressor"]),
    ("downlink", r#"{"kind": "sum", "compresor": {}}"#, &["`downlink", "compresor"]),
    (
        "downlink",
        r#"{"kind": "difference", "compressor": {"kind": "rand-k", "ratio": 0.1, "shared": true}}"#,
        &["`downlink.compressor.shared`", "not summed"],
    ),
    ("compressor", r#"{"kind": "low-rank", "rank": 1}"#, &["`compressor.x.kind`", "residual"]),
    ("wire.link_gbit", "0", &["`wire.link_gbit`", "above 0"]),
    ("wire", r#"{"collective": "ring"}"#, &["`wire.collective`", "ring", "segments"]),
    ("wire", r#"{"collective": "segments"}"#, &["`wire.collective`", "cannot be summed", "shared"]),
];

/// The same about c-soba on images with residual feedback.
pub const ON_RESIDUALS: &[(&str, &str, &[&str])] = &[
    ("compressor", r#"{"kind": "low-rank", "rank": 10}"#, &["`compressor.y.rank`", "17 x 10"]),
    (
        "compressor",
        r#"{"kind": "low-rank", "rank": 1, "factors": {"kind": "rand-k", "ratio": 0.1, "shared": true}}"#,
        &["`compressor.factors.shared`", "not summed"],
    ),
    ("downlink", r#"{"kind": "sum"}"#, &["`downlink.kind`", "between its rounds"]),
];

/// The same about sparkle on the quadratic, with 8 workers on a ring.
pub const ON_GRAPH: &[(&str, &str, &[&str])] = &[
    ("topology", r#"{"kind": "rng"}"#, &["`topology", "rng", "ring"]),
    ("topology", r#"{"kind": "ring", "rows": 2}"#, &["`topology", "rows"]),
    ("topology", r#"{"kind": "torus", "rows": 3}"#, &["`topology.rows`", "8 agents", "3 rows"]),
    ("topology", r#"{"x": {"kind": "ring"}, "y": {"kind": "ring"}}"#, &["`topology.z`", "missing"]),
    (
        "topology",
        r#"{"kind": "erdos-renyi", "probability": 1e-9}"#,
        &["`topology.probability`", "connected"],
    ),
    (
        "topology",
        r#"{"kind": "edges", "edges": [[0, 1], [1, 2]]}"#,
        &["`topology`", "not connected", "agent 3"],
    ),
    ("topology", r#"{"kind": "edges", "edges": [[0, 8]]}"#, &["`topology.edges`", "last one, 7"]),
    ("topology", r#"{"kind": "file", "file": "none.txt"}"#, &["`topology.file`", "none.txt"]),
    (
        "topology",
        r#"{"kind": "one-peer-exponential"}"#,
        &["`algorithm.strategy.x`", "symmetric", "exponential"],
    ),
    ("mixing.kind", r#""weights""#, &["`mixing.kind`", "no weights"]),
    ("mixing", r#"{"lasy": true}"#, &["`mixing.lasy`", "did you mean \"lazy\"?"]),
    ("algorithm.strategy.y", r#""extra""#, &["`algorithm.strategy.y`", "-0.333", "\"lazy\": true"]),
    ("algorithm.strategy.z", r#""gt""#, &["`algorithm.strategy.z`", "atc-gt"]),
    ("weights", r#"{"lambda": [1]}"#, &["`weights.lambda`", "1 weights for 8"]),
    ("gossip", r#"{"eta": 0.1}"#, &["`gossip`", "nothing is compressed"]),
    ("compressor", r#"{"kind": "low-rank", "rank": 1}"#, &["`compressor.kind`", "server"]),
    (
        "compressor",
        r#"{"kind": "rand-k", "ratio": 0.1, "shared": true}"#,
        &["`compressor.shared`", "not summed"],
    ),
    ("feedback", r#"{"kind": "residual"}"#, &["`feedback`", "loses nothing"]),
    ("downlink", r#"{"kind": "sum"}"#, &["`downlink`", "no server"]),
];
