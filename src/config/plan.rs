//! The plan: a config in which every key is known, in range, and filled in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::checkpoint::{CheckpointPlan, watchdog_seconds};
use super::evaluate::Evaluate;
use super::graph::{self, GraphPlan, Weights};
use super::travel::{self, Downlink, Travel, Wire};
use super::{ConfigError, Count, KeyError, parse};
use crate::data::Partition;
use crate::graph::Mixing;

/// Number type of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 64-bit floating point.
    F64,
}

/// Key `log`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogPlan {
    /// A row at the start, at every multiple of this, and at the end.
    pub every: Count,
    /// Rows at multiples of this also hold the times of each rank.
    pub timing_every: Count,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self { every: Count::constant(1.0), timing_every: Count::constant(10.0) }
    }
}

/// The config as written. `problem`, `algorithm`, `compressor` and `feedback` are
/// read by their registries.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Sobaya run")]
pub(super) struct Written {
    /// Name of the run: letters, digits and . _ - ; the default output folder is runs/NAME.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"))]
    name: String,
    /// Seed of every draw.
    #[serde(default, deserialize_with = "super::numbers::whole")]
    seed: u64,
    #[serde(default)]
    precision: Precision,
    /// Number of logical workers; ranks host them in blocks.
    workers: Count,
    iterations: Count,
    problem: Value,
    /// How the data set's samples are dealt out to the workers (problems with data only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<Partition>,
    algorithm: Value,
    /// One compressor for x, y and z, or {"x": .., "y": .., "z": ..}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compressor: Option<Value>,
    /// What the workers remember of what compression lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feedback: Option<Value>,
    /// Methods without a server: the graph of the agents, one for all or {"x": .., "y": .., "z": ..}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topology: Option<Value>,
    /// The weights of the mixing matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mixing: Option<Mixing>,
    /// How much each agent counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    /// Steps of compressed mixing, one object or {"x": .., "y": .., "z": ..}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gossip: Option<Value>,
    #[serde(default)]
    downlink: Downlink,
    #[serde(default)]
    wire: Wire,
    #[serde(default)]
    evaluate: Evaluate,
    #[serde(default)]
    log: LogPlan,
    #[serde(default)]
    checkpoint: CheckpointPlan,
    /// Seconds without any progress after which the job is ended.
    #[serde(default = "watchdog_seconds")]
    watchdog_seconds: Count,
}

/// The keys that change nothing of a run's results.
const OUTCOME_IS_FREE_OF: [&str; 3] = ["name", "checkpoint", "watchdog_seconds"];
/// Those that a run may be resumed with other values of, besides.
const STATE_IS_FREE_OF: [&str; 2] = ["iterations", "evaluate"];

/// A config that can be run: every name known, every number in range, every default filled in.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Plan {
    pub name: String,
    pub seed: u64,
    pub precision: Precision,
    pub workers: usize,
    pub iterations: u64,
    /// Resolved object of the problem registry.
    pub problem: Value,
    /// For problems with data.
    pub partition: Option<Partition>,
    /// Resolved object of the algorithm registry.
    pub algorithm: Value,
    /// How vectors travel to a server and back.
    pub travel: Travel,
    /// What methods without a server have in its place.
    pub graph: Option<GraphPlan>,
    pub evaluate: Evaluate,
    pub log: LogPlan,
    pub checkpoint: CheckpointPlan,
    /// Seconds without any progress after which the job is ended.
    pub watchdog_seconds: u64,
    /// The whole config with every default filled in, keys sorted.
    pub resolved: Value,
    /// SHA-256 of `resolved` as compact JSON.
    pub sha256: [u8; 32],
    /// Remarks for the user: allowed, but perhaps not meant.
    pub notices: Vec<String>,
}

impl Plan {
    /// Checks a config.
    pub fn new(config: Value) -> Result<Self, ConfigError> {
        let written: Written = parse(config)?;
        check_name(&written.name)?;
        let problems = crate::problems::registry();
        let algorithms = crate::algorithms::registry();
        let problem = problems.resolve(&written.problem).map_err(|e| e.below("problem"))?;
        let algorithm = algorithms.resolve(&written.algorithm).map_err(|e| e.below("algorithm"))?;
        if let Some(partition) = &written.partition {
            partition.check().map_err(|e| e.below("partition"))?;
        }
        let facts = algorithms.facts(&algorithm);
        let graph = graph_of(&written, &algorithm, facts.neighbours)?;
        let partition = match (problems.facts(&problem).partitioned, written.partition) {
            (true, given) => Some(given.unwrap_or_default()),
            (false, None) => None,
            (false, Some(_)) => {
                let kind = &problem["kind"];
                let problem =
                    format!("the problem {kind} has no data to deal out; remove this key");
                return Err(KeyError::unused("partition", problem).into());
            }
        };
        let sparse_upper = problems.facts(&problem).sparse_upper;
        let mut notices = vec![];
        let keys = travel::Written {
            compressor: written.compressor.as_ref().filter(|_| graph.is_none()),
            feedback: written.feedback.as_ref(),
            downlink: &written.downlink,
            wire: written.wire,
            sparse_upper,
        };
        let travel = Travel::new(keys, &algorithm, facts, &mut notices)?;
        let at_server = facts.compressed.then(|| travel.written_compressor());
        let resolved = Written {
            problem: problem.clone(),
            algorithm: algorithm.clone(),
            partition: partition.clone(),
            compressor: graph.as_ref().map(GraphPlan::written_compressor).or(at_server),
            topology: graph.as_ref().map(GraphPlan::written_topology),
            mixing: graph.as_ref().map(|graph| graph.mixing),
            gossip: graph.as_ref().and_then(GraphPlan::written_gossip),
            feedback: facts.compressed.then(|| travel.feedback.clone()),
            downlink: travel.written_downlink(),
            ..written
        };
        let json = serde_json::to_value(&resolved)
            .map_err(|e| KeyError::value("", format!("cannot be written back: {e}")))?;
        Ok(Self {
            name: resolved.name,
            seed: resolved.seed,
            precision: resolved.precision,
            workers: resolved.workers.get(),
            iterations: resolved.iterations.get() as u64,
            problem,
            partition,
            algorithm,
            travel,
            graph,
            evaluate: resolved.evaluate,
            log: resolved.log,
            checkpoint: resolved.checkpoint,
            watchdog_seconds: resolved.watchdog_seconds.get() as u64,
            sha256: Sha256::digest(json.to_string()).into(),
            resolved: json,
            notices,
        })
    }

    /// First 32 bits of the config's hash: what every envelope carries.
    pub fn fingerprint(&self) -> u32 {
        u32::from_le_bytes([self.sha256[0], self.sha256[1], self.sha256[2], self.sha256[3]])
    }

    /// The whole hash as hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        hexadecimal(&self.sha256)
    }

    /// SHA-256 of `resolved` without `name` and the keys that say how the run survives, as hexadecimal
    /// digits: runs with the same results have it in common.
    pub fn outcome_sha256_hex(&self) -> String {
        sha256_hex(&outcome_config(&self.resolved))
    }

    /// The part of `resolved` that a checkpoint must have in common with the run that resumes from it.
    pub fn state_config(&self) -> Value {
        state_config(&self.resolved)
    }
}

/// As [`Plan::state_config`], of any resolved config.
pub fn state_config(resolved: &Value) -> Value {
    without(&outcome_config(resolved), &STATE_IS_FREE_OF)
}

/// The part of a resolved config that runs with the same results have in common.
pub fn outcome_config(resolved: &Value) -> Value {
    without(resolved, &OUTCOME_IS_FREE_OF)
}

fn without(config: &Value, keys: &[&str]) -> Value {
    let mut config = config.clone();
    if let Some(map) = config.as_object_mut() {
        map.retain(|key, _| !keys.contains(&&key[..]));
    }
    config
}

/// SHA-256 of a config as it is logged, as hexadecimal digits.
pub fn sha256_hex(config: &Value) -> String {
    hexadecimal(&Sha256::digest(config.to_string()))
}

/// What a method without a server has in its place.
fn graph_of(
    written: &Written,
    algorithm: &Value,
    neighbours: bool,
) -> Result<Option<GraphPlan>, KeyError> {
    let keys = graph::Written {
        topology: written.topology.as_ref(),
        mixing: written.mixing,
        weights: written.weights.as_ref(),
        gossip: written.gossip.as_ref(),
        compressor: written.compressor.as_ref(),
    };
    if !neighbours {
        return keys.refuse(algorithm).map(|()| None);
    }
    if written.downlink != Downlink::default() {
        let problem = format!("the algorithm {} has no server; remove this key", algorithm["kind"]);
        return Err(KeyError::unused("downlink", problem));
    }
    keys.plan(written.workers.get(), super::read::read_edges).map(Some)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty()
        || name.len() > 100
        || name.starts_with(['.', '-'])
        || !name.chars().all(legal)
    {
        let problem = format!(
            "must be 1 to 100 letters, digits and . _ - not beginning with . or -, found {name:?}"
        );
        return Err(KeyError::value("name", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Value {
        json!({ "name": "t", "workers": 8, "iterations": 10,
            "problem": { "kind": "quadratic" },
            "algorithm": { "kind": "ef-soba", "alpha": 0.1, "beta": 0.1, "gamma": 0.1 },
            "compressor": { "kind": "rand-k", "ratio": 0.1 } })
    }

    #[test]
    fn resolving_is_idempotent_and_fills_defaults() {
        let plan = Plan::new(example()).unwrap();
        assert_eq!(plan.resolved["problem"]["dim_upper"], json!(40));
        assert_eq!(plan.resolved["algorithm"]["momentum"], json!("server"));
        let again = Plan::new(plan.resolved.clone()).unwrap();
        assert_eq!((again.resolved, again.sha256), (plan.resolved, plan.sha256));
    }

    #[test]
    fn a_seed_is_a_whole_number_however_it_is_written() {
        let seed = |text: &str| {
            let mut config = example();
            config["seed"] = serde_json::from_str(text).unwrap();
            Plan::new(config).map(|plan| plan.seed).map_err(|error| error.to_string())
        };
        assert_eq!(seed("1e3"), seed("1000"));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for wrong in ["-1", "0.5", "1e19", "1e300", "\"1\"", "null"] {
            let error = seed(wrong).unwrap_err();
            assert!(error.contains("`seed`"), "{error}");
        }
    }

    #[test]
    fn runs_that_differ_in_name_alone_have_a_hash_in_common() {
        let hashes = |name: &str, seed: u64| {
            let mut config = example();
            config["name"] = json!(name);
            config["seed"] = json!(seed);
            let plan = Plan::new(config).unwrap();
            (plan.sha256_hex(), plan.outcome_sha256_hex())
        };
        let (a, b, c) = (hashes("a", 0), hashes("b", 0), hashes("a", 1));
        assert!(a.0 != b.0 && a.1 == b.1 && a.1 != c.1);
    }

    /// Every rank reads the config that the root resolved; its hash must be the root's.
    #[test]
    fn numbers_survive_being_written_and_read_again() {
        for text in ["2.1544346900318822e-07", "0.1", "1e-300", "0.30000000000000004", "5e-324"] {
            let mut config = example();
            config["algorithm"]["alpha"] = serde_json::from_str(text).unwrap();
            let plan = Plan::new(config).unwrap();
            let read = serde_json::from_str(&plan.resolved.to_string()).unwrap();
            assert_eq!(Plan::new(read).unwrap().sha256, plan.sha256, "{text}");
        }
    }

    #[test]
    fn compressors_may_differ_by_variable() {
        let mut config = example();
        config["compressor"] = json!({ "x": { "kind": "top-k", "ratio": 0.5 },
            "y": { "kind": "identity" }, "z": { "kind": "identity" } });
        let plan = Plan::new(config.clone()).unwrap();
        assert_eq!(plan.travel.compressors[0]["kind"], json!("top-k"));
        config["compressor"]["z"].take();
        let error = Plan::new(config).unwrap_err().to_string();
        assert!(error.contains("`compressor.z`"), "{error}");
    }

    #[test]
    fn a_biased_compressor_without_feedback_is_noticed() {
        let mut config = example();
        config["compressor"] = json!({ "kind": "top-k", "ratio": 0.5 });
        assert!(Plan::new(config.clone()).unwrap().notices.is_empty());
        config["algorithm"] = json!({ "kind": "c-soba", "alpha": 1, "beta": 1, "gamma": 1 });
        assert_eq!(Plan::new(config).unwrap().notices.len(), 1);
    }
}
