//! Reading a config file and applying `--set key.path=value`.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ConfigError;

/// No config is longer than this.
const MAX_BYTES: u64 = 1 << 20;
/// No key lies deeper.
const MAX_DEPTH: usize = 16;

/// The file as one JSON value; a key that stands twice in an object is refused.
pub fn read_file(path: &Path) -> Result<Value, ConfigError> {
    let name = path.display().to_string();
    let read = |source| ConfigError::Read { path: name.clone(), source };
    let mut bytes = vec![];
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > MAX_BYTES {
        let problem = format!("a config has at most {MAX_BYTES} bytes, this has more");
        return Err(ConfigError::Syntax { path: name, problem });
    }
    let Strict(value) = serde_json::from_slice(&bytes)
        .map_err(|e| ConfigError::Syntax { path: name.clone(), problem: e.to_string() })?;
    if !value.is_object() {
        let problem = "the top level must be an object { ... }".into();
        return Err(ConfigError::Syntax { path: name, problem });
    }
    Ok(value)
}

/// The text of a file of edges, or why it cannot be read.
pub fn read_edges(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= MAX_BYTES => Ok(text),
        Ok(_) => Err(format!("{path} has more than the {MAX_BYTES} bytes that a config may have")),
        Err(error) => Err(format!("cannot read {path}: {error}; give the path of a text file")),
    }
}

/// Sets one key: `key.path=value`. The value is read as JSON, or else taken as a string.
pub fn apply_override(config: &mut Value, given: &str) -> Result<(), ConfigError> {
    let fail = |problem: String| {
        let given = given.chars().take(100).collect();
        ConfigError::Override { given, problem }
    };
    let (path, text) = given.split_once('=').ok_or_else(|| fail("there is no `=`".into()))?;
    let value = match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => value,
        Err(_) => Value::String(text.to_owned()),
    };
    set_key(config, path, value).map_err(fail)
}

/// Sets the key of a dotted path; objects on the way are made, and the plan then refuses keys that do
/// not exist. The error says what is wrong with the path.
pub fn set_key(config: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.split('.').count() > MAX_DEPTH {
        return Err(format!("the path has more than {MAX_DEPTH} parts"));
    }
    let mut at = config;
    for key in path.split('.') {
        if key.is_empty() {
            return Err(format!("`{path}` has an empty part"));
        }
        at = match at {
            Value::Object(map) => map.entry(key).or_insert(Value::Null),
            Value::Null => {
                *at = Value::Object(Map::new());
                &mut at[key]
            }
            other => return Err(format!("`{key}` would be a key of {other}")),
        };
    }
    *at = value;
    Ok(())
}

/// A JSON value in which no key stands twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictVisitor.deserialize(deserializer).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = vec![];
        while let Some(item) = seq.next_element_seed(StrictVisitor)? {
            items.push(item);
        }
        Ok(items.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(StrictVisitor)?;
            if map.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("key `{key}` stands twice in an object")));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn overrides_set_and_create_keys() {
        let mut config = json!({ "algorithm": { "alpha": 1 } });
        for given in ["algorithm.alpha=0.5", "compressor.x.kind=top-k", "problem.hidden=[3,4]"] {
            apply_override(&mut config, given).unwrap();
        }
        let expected = json!({ "algorithm": { "alpha": 0.5 },
            "compressor": { "x": { "kind": "top-k" } }, "problem": { "hidden": [3, 4] } });
        assert_eq!(config, expected);
        for wrong in ["alpha", "a..b=1", "algorithm.alpha.x=1", "=1"] {
            assert!(apply_override(&mut config, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let error = serde_json::from_str::<Strict>(r#"{"a": {"b": 1, "b": 2}}"#).err().unwrap();
        assert!(error.to_string().contains("`b` stands twice"));
    }
}
