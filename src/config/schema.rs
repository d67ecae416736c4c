//! The JSON Schema of the config, from which editors complete and check.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::graph::Rates;
use super::plan::Written;
use super::read::SCHEMA_KEY;
use crate::graph::Topology;

/// Schema of the whole config: the fixed keys, and one alternative for each registered kind.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut compressor = crate::compressors::coders().schema(&mut generator).to_value();
    let feedback = crate::feedback::registry().schema(&mut generator).to_value();
    let plain = crate::compressors::registry().schema(&mut generator).to_value();
    let problem = crate::problems::registry().schema(&mut generator).to_value();
    let algorithm = crate::algorithms::registry().schema(&mut generator).to_value();
    let topology = generator.subschema_for::<Topology>().to_value();
    let gossip = generator.subschema_for::<Rates>().to_value();
    let mut schema = generator.into_root_schema_for::<Written>().to_value();
    let every = json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000_000, "default": 1,
        "description": "Sent in every N-th iteration; needs feedback." });
    for kind in compressor["oneOf"].as_array_mut().into_iter().flatten() {
        kind["properties"]["every"] = every.clone();
    }
    let one_or_three = |one: Value| {
        let separate = json!({
            "type": "object", "required": ["x", "y", "z"], "additionalProperties": false,
            "properties": { "x": one, "y": one, "z": one },
        });
        json!({ "anyOf": [one, separate] })
    };
    let properties = &mut schema["properties"];
    properties[SCHEMA_KEY] = json!({ "type": "string",
        "description": "Path or address of this schema, for editors; not a part of the run." });
    properties["problem"] = problem;
    properties["algorithm"] = algorithm;
    properties["compressor"] = one_or_three(compressor);
    properties["feedback"] = feedback;
    properties["topology"] = one_or_three(topology);
    properties["gossip"] = one_or_three(gossip);
    for kind in schema["$defs"]["Downlink"]["oneOf"].as_array_mut().into_iter().flatten() {
        if let Some(slot) = kind["properties"].get_mut("compressor") {
            *slot = one_or_three(plain.clone());
        }
    }
    schema
}
