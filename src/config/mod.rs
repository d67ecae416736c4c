//! From the JSON a user wrote to a validated [`Plan`].
//!
//! `read.rs` turns files and `--set` overrides into one JSON value, `plan.rs` checks it against the
//! registries and fills in every default, `travel.rs` the keys that say how vectors travel, `numbers.rs` holds the ranges that keys may have.

mod checkpoint;
mod evaluate;
mod graph;
mod numbers;
mod plan;
mod read;
mod schema;
mod travel;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use checkpoint::CheckpointPlan;
pub use evaluate::{Evaluate, Hypergradient};
pub use graph::{GraphPlan, Weights, WeightsMode};
pub use numbers::{Count, NonNegative, Positive, Ratio, Share};
pub use plan::{LogPlan, Plan, Precision, outcome_config, sha256_hex, state_config};
pub use read::{apply_override, read_bytes, read_file, set_key};
pub use schema::schema;
pub use travel::{DownlinkPlan, Travel, Wire};

/// A config that cannot be run; nothing has been written when this is raised.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("cannot read config {path}: {source}; give the path of a JSON file")]
    Read { path: String, source: std::io::Error },
    #[error("config {path}: {problem}")]
    Syntax { path: String, problem: String },
    #[error("--set {given}: {problem}; write --set key.path=value")]
    Override { given: String, problem: String },
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong with one key of the config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config key `{}`: {problem}", key.escape_debug())]
pub struct KeyError {
    /// Dotted path from the top of the config.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// The key stands where nothing reads it: without it the config might be right. A sweep drops
    /// such a key for the kinds that do not use it.
    pub unused: bool,
}

impl KeyError {
    /// An error of a key, or with an empty key of the object in question itself.
    pub fn value(key: &str, problem: String) -> Self {
        Self { key: key.to_owned(), problem, unused: false }
    }

    /// A key that is unknown or of no use where it stands.
    pub fn unused(key: &str, problem: String) -> Self {
        Self { unused: true, ..Self::value(key, problem) }
    }

    /// The same error seen from the object that holds this one under `parent`.
    pub fn below(mut self, parent: &str) -> Self {
        self.key = match self.key.as_str() {
            "" => parent.to_owned(),
            key => format!("{parent}.{key}"),
        };
        self
    }
}

/// Reads a value into a struct; errors name the key below the value.
pub fn parse<T: DeserializeOwned>(value: Value) -> Result<T, KeyError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner().to_string();
        let path = if path == "." { String::new() } else { path };
        match problem.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((unknown, _)) => {
                let known: Vec<&str> = problem.split('`').skip(3).step_by(2).collect();
                let advice = nearest(unknown, &known);
                let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                let parent =
                    path.strip_suffix(unknown).map_or(&path[..], |p| p.trim_end_matches('.'));
                let error =
                    KeyError::unused(unknown, format!("unknown key{advice}; known here: {known}"));
                if parent.is_empty() { error } else { error.below(parent) }
            }
            None => KeyError::value(&path, problem),
        }
    })
}

/// `; did you mean "x"?` when a known name is close, else nothing.
pub fn nearest(name: &str, known: &[&str]) -> String {
    // A name that is longer by more than may differ is not compared: that takes memory as their product.
    let close = |candidate: &&&str| name.len() <= 4 * candidate.len() + 4;
    (known.iter().filter(close))
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|&(distance, candidate)| distance <= 1 + candidate.len() / 3)
        .map(|(_, candidate)| format!("; did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Steps {
        #[allow(dead_code)]
        alpha: Positive,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code)]
        inner: Steps,
    }

    fn message(value: Value) -> String {
        parse::<Outer>(value).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_key_and_the_remedy() {
        let unknown = message(json!({ "inner": { "alpha": 1, "alhpa": 2 } }));
        assert!(unknown.starts_with("config key `inner.alhpa`: unknown key"), "{unknown}");
        assert!(unknown.contains("did you mean \"alpha\"?"), "{unknown}");
        let unused = |value| parse::<Outer>(value).unwrap_err().unused;
        assert!(unused(json!({ "inner": { "alpha": 1, "beta": 2 } })));
        assert!(!unused(json!({ "inner": { "alpha": -1 } })));
        let range = message(json!({ "inner": { "alpha": -1 } }));
        assert!(range.starts_with("config key `inner.alpha`: ") && range.contains("-1"), "{range}");
        let missing = message(json!({ "inner": {} }));
        assert!(missing.contains("`inner`") && missing.contains("`alpha`"), "{missing}");
        let top = message(json!({ "iner": {} }));
        assert!(top.starts_with("config key `iner`: ") && top.contains("\"inner\""), "{top}");
    }
}
