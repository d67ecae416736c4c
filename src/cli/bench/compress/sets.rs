//! The compressors that are measured unless others are named.

use serde_json::{Value, json};

/// Every registered kind with the parameters that matter.
pub fn built_in() -> Vec<Value> {
    let mut sets = vec![
        json!({ "kind": "identity" }),
        json!({ "kind": "rand-k", "ratio": 0.01, "sampler": "uniform" }),
        json!({ "kind": "rand-k", "ratio": 0.01, "sampler": "stratified" }),
        json!({ "kind": "rand-k", "ratio": 0.1, "sampler": "uniform" }),
        json!({ "kind": "rand-k", "ratio": 0.1, "sampler": "stratified" }),
        json!({ "kind": "rand-block", "ratio": 0.1 }),
        json!({ "kind": "bernoulli", "ratio": 0.1 }),
        json!({ "kind": "natural" }),
        json!({ "kind": "dithering", "levels": 7, "bucket": 512, "norm": "max" }),
        json!({ "kind": "dithering", "levels": 7, "bucket": 512, "rounding": "nearest" }),
        json!({ "kind": "dithering", "levels": 127, "bucket": 512, "norm": "max" }),
        json!({ "kind": "dithering", "levels": 7, "bucket": 512, "norm": "l2" }),
        json!({ "kind": "ternary", "bucket": 512 }),
        json!({ "kind": "sign" }),
    ];
    for ratio in [0.01, 0.1] {
        let top_k = |bits: u32, index: &str| json!({ "kind": "top-k", "ratio": ratio, "bits": bits, "index": index });
        sets.push(top_k(32, "raw"));
        sets.extend([32, 16, 8, 4, 1].map(|bits| top_k(bits, "rice")));
    }
    let rand_k = json!({ "kind": "rand-k", "ratio": 0.05, "sampler": "stratified" });
    for supports in ["overlapping", "disjoint"] {
        sets.push(
            json!({ "kind": "multi-step", "rounds": 2, "supports": supports, "inner": rand_k }),
        );
    }
    sets
}

/// The kind and its parameters on one line, without quotation marks and braces.
pub fn name(set: &Value) -> String {
    let Value::Object(object) = set else { return set.to_string() };
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    (object.iter().filter(|(key, _)| *key != "kind")).fold(kind.to_owned(), |name, (key, value)| {
        match value {
            Value::String(text) => format!("{name} {text}"),
            Value::Object(_) => format!("{name} ({})", self::name(value)),
            value => format!("{name} {key} {value}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressors::registry;

    #[test]
    fn every_registered_kind_is_measured() {
        let sets = built_in();
        for entry in &registry().0 {
            assert!(sets.iter().any(|set| set["kind"] == entry.kind), "{} is not", entry.kind);
        }
    }

    #[test]
    fn names_tell_the_sets_apart() {
        let mut names: Vec<String> = built_in().iter().map(name).collect();
        assert!(names.contains(&"rand-k ratio 0.1 stratified".into()), "{names:?}");
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
