//! Reading a config file and applying `--set key.path=value`.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ConfigError;

/// No config is longer than this.
const MAX_BYTES: u64 = 1 << 20;
/// No config holds more numbers, words, lists and objects: each takes up to 2 kB while it is checked.
const MAX_VALUES: usize = 10_000;
/// Names the file's schema to editors.
pub(super) const SCHEMA_KEY: &str = "$schema";
/// No key lies deeper.
const MAX_DEPTH: usize = 16;

/// The file as one JSON value; a key that stands twice in an object is refused.
pub fn read_file(path: &Path) -> Result<Value, ConfigError> {
    let name = path.display().to_string();
    let read = |source| ConfigError::Read { path: name.clone(), source };
    let mut bytes = vec![];
    let file = std::fs::File::open(path).map_err(read)?;
    // One byte more than a config may have, to tell; a device or pipe may have no end.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    read_bytes(&bytes).map_err(|problem| ConfigError::Syntax { path: name, problem })
}

/// What a config file holds as one JSON object. The error says what is wrong, and the remedy.
pub fn read_bytes(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "a config has at most {MAX_BYTES} bytes, this has more; is it the right file?"
        ));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("byte {} is not UTF-8; save it as UTF-8", e.valid_up_to() + 1))?;
    if text.starts_with('\u{feff}') {
        return Err("it begins with a byte order mark; save it as UTF-8 without one".into());
    }
    if text.contains('\0') {
        return Err("it holds NUL characters, as UTF-16 does; save it as UTF-8".into());
    }
    if text.trim_ascii().is_empty() {
        return Err("it is empty; docs/config.md has an example".into());
    }
    match read_text(text)? {
        Value::Object(mut keys) => match keys.remove(SCHEMA_KEY) {
            // By it an editor finds the schema; it says nothing about the run.
            None | Some(Value::String(_)) => Ok(Value::Object(keys)),
            Some(other) => Err(format!(
                "{SCHEMA_KEY} must be a string, the path or address of the schema, found {other}"
            )),
        },
        _ => Err("the top level must be an object { ... }".into()),
    }
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

/// JSON in which no key stands twice in an object.
fn read_text(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let strict = Strict { depth: MAX_DEPTH, values: &Cell::new(MAX_VALUES) };
    let value = strict.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|e| match e.is_data() {
        true => e.to_string(),
        false => format!("not JSON: {e}"),
    })
}

/// Sets one key: `key.path=value`. The value is read as JSON, or else taken as a string, unless it
/// begins as only JSON does.
pub fn apply_override(config: &mut Value, given: &str) -> Result<(), ConfigError> {
    let fail = |problem: String| {
        let given = given.chars().take(100).collect();
        ConfigError::Override { given, problem }
    };
    let (path, text) = given.split_once('=').ok_or_else(|| fail("there is no `=`".into()))?;
    let value = match read_text(text) {
        Ok(value) => value,
        Err(problem) if text.trim_start().starts_with(['{', '[', '"']) => {
            return Err(fail(problem));
        }
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

/// Reads a JSON value in which no key stands twice, nothing lies too deep, and not too much stands.
#[derive(Clone, Copy)]
struct Strict<'c> {
    /// How much deeper values may lie.
    depth: usize,
    /// How many more there may be.
    values: &'c Cell<usize>,
}

impl Strict<'_> {
    /// What reads the values of a list or object.
    fn below<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom(format!("deeper than {MAX_DEPTH} levels, where no key lies"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.values.get().checked_sub(1) {
            Some(left) => self.values.set(left),
            None => {
                let problem = format!(
                    "more than {MAX_VALUES} numbers, words, lists and objects, the most that are read"
                );
                return Err(D::Error::custom(problem));
            }
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        let below = self.below()?;
        let mut items = vec![];
        while let Some(item) = seq.next_element_seed(below)? {
            items.push(item);
        }
        Ok(items.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(below)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "key `{}` stands twice in an object: remove one",
                    key.escape_debug()
                )));
            }
            map.insert(key, value);
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
    fn a_value_that_begins_as_json_is_json() {
        let mut config = json!({});
        for wrong in
            [r#"a={"b": 1, "b": 2}"#, "a=[1", "a= \"x", "a=[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]"]
        {
            assert!(apply_override(&mut config, wrong).is_err(), "{wrong}");
        }
        apply_override(&mut config, "a=2026-run").unwrap();
        assert_eq!(config, json!({ "a": "2026-run" }));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        let many = format!("{{\"a\": [{}1]}}", "1,".repeat(10_000));
        for (text, words) in [
            (r#"{"a": {"b": 1, "b": 2}}"#, "`b` stands twice"),
            (r#"{"a": 1, "\u0061": 2}"#, "`a` stands twice"),
            ("\u{feff}{}", "byte order mark"),
            ("{\0}\0", "UTF-16"),
            (" \n", "empty"),
            ("[]", "top level"),
            ("{} {}", "trailing"),
            (&deep, "deeper than 16"),
            (&many, "more than 10000"),
        ] {
            let problem = read_bytes(text.as_bytes()).unwrap_err();
            assert!(problem.contains(words), "{text:.40}: {problem}");
        }
        assert!(read_bytes(b"{\"a\": \"\xff\"}").unwrap_err().contains("byte 8"));
        assert!(read_bytes(br#"{"$schema": 1}"#).unwrap_err().contains("must be a string"));
        let named = read_bytes(br#"{"$schema": "schema.json", "a": {"$schema": 1}}"#).unwrap();
        assert_eq!(named, json!({ "a": { "$schema": 1 } }));
        let deepest = format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16));
        assert!(read_bytes(deepest.as_bytes()).is_ok());
    }
}
