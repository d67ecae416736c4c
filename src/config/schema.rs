//! The JSON Schema of the config, from which editors complete and check.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::plan::Written;

/// Schema of the whole config: the fixed keys, and one alternative for each registered kind.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let compressor = crate::compressors::registry().schema(&mut generator).to_value();
    let problem = crate::problems::registry().schema(&mut generator).to_value();
    let algorithm = crate::algorithms::registry().schema(&mut generator).to_value();
    let mut schema = generator.into_root_schema_for::<Written>().to_value();
    let separate = json!({
        "type": "object", "required": ["x", "y", "z"], "additionalProperties": false,
        "properties": { "x": compressor, "y": compressor, "z": compressor },
    });
    let properties = &mut schema["properties"];
    properties["problem"] = problem;
    properties["algorithm"] = algorithm;
    properties["compressor"] = json!({ "anyOf": [compressor, separate] });
    schema
}
