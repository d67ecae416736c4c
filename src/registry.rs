//! Registries of algorithms, compressors and problems: what the config key `kind` may name.
//!
//! A kind is a plain struct of its parameters (what the config holds) with a constructor for both
//! precisions. Everything that lists kinds (`sobaya list`, the JSON Schema, error messages, tables
//! of tests) walks these registries.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::config::{KeyError, nearest};
use crate::scalar::Scalar;

/// A sort of thing that the config chooses by `kind`.
pub trait Family: 'static {
    /// What a kind builds, per precision.
    type Of<F: Scalar>: ?Sized;
    /// What building needs besides the parameters.
    type Context<'a, F: Scalar>;
    /// Why building may fail.
    type Error: From<KeyError>;
    /// What the plan must know of a kind before it is built.
    type Facts: Copy;
    /// The word for one of these in messages.
    const WORD: &'static str;
}

/// Constructor of a kind in one precision.
pub type Build<T, F> = for<'a> fn(
    Value,
    <T as Family>::Context<'a, F>,
) -> Result<Box<<T as Family>::Of<F>>, <T as Family>::Error>;

/// Parameters of a kind, as the config holds them, and what to say about it.
pub trait Kind: Serialize + DeserializeOwned + JsonSchema {
    /// Value of the config key `kind`.
    const KIND: &'static str;
    /// One line for `sobaya list`.
    const SUMMARY: &'static str;
    /// Where it was published; "-" if nowhere.
    const SOURCE: &'static str = "-";

    /// What the types of the fields cannot say.
    fn check(&self) -> Result<(), KeyError> {
        Ok(())
    }
}

/// One registered kind.
pub struct Entry<T: Family> {
    /// Value of the config key `kind`.
    pub kind: &'static str,
    /// One line for `sobaya list`.
    pub summary: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// What the plan must know of it.
    pub facts: T::Facts,
    /// Parameters with all defaults filled in.
    pub resolve: fn(Value) -> Result<Value, KeyError>,
    /// Schema of the parameters.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Constructor, single precision.
    pub build_f32: Build<T, f32>,
    /// Constructor, double precision.
    pub build_f64: Build<T, f64>,
}

impl<T: Family> Entry<T> {
    /// The entry of `K` with its two constructors.
    pub fn new<K: Kind>(
        facts: T::Facts,
        build_f32: Build<T, f32>,
        build_f64: Build<T, f64>,
    ) -> Self {
        Self {
            kind: K::KIND,
            summary: K::SUMMARY,
            source: K::SOURCE,
            facts,
            resolve: |value| {
                let kind: K = parameters(value)?;
                serde_json::to_value(kind).map_err(|e| KeyError::value("", e.to_string()))
            },
            schema: |generator| generator.subschema_for::<K>(),
            build_f32,
            build_f64,
        }
    }
}

/// Reads and checks the parameters of a kind.
pub fn parameters<K: Kind>(value: Value) -> Result<K, KeyError> {
    let kind: K = crate::config::parse(value)?;
    kind.check()?;
    Ok(kind)
}

/// All kinds of a family, in the order in which they are listed.
pub struct Registry<T: Family>(pub Vec<Entry<T>>);

impl<T: Family> Registry<T> {
    /// The object with every default filled in; errors carry the key below this object.
    pub fn resolve(&self, object: &Value) -> Result<Value, KeyError> {
        let (entry, parameters) = self.find(object)?;
        let mut resolved = (entry.resolve)(parameters)?;
        resolved["kind"] = json!(entry.kind);
        Ok(resolved)
    }

    /// Facts of a resolved object's kind.
    ///
    /// # Panics
    /// If the object does not come from [`Registry::resolve`].
    pub fn facts(&self, resolved: &Value) -> T::Facts {
        self.find(resolved).expect("a resolved object names a kind").0.facts
    }

    /// Builds what the object names.
    pub fn build<F: Scalar>(
        &self,
        object: &Value,
        context: T::Context<'_, F>,
    ) -> Result<Box<T::Of<F>>, T::Error> {
        let (entry, parameters) = self.find(object)?;
        F::build_of(entry)(parameters, context)
    }

    /// Schema of the object: one of the kinds with its parameters.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let kinds: Vec<Value> = (self.0.iter())
            .map(|entry| {
                let reference = (entry.schema)(generator);
                let name = reference.get("$ref").and_then(Value::as_str).unwrap_or_default();
                let name = name.rsplit('/').next().unwrap_or_default().to_owned();
                let mut schema = generator.definitions().get(&name).cloned().unwrap_or_default();
                if let Some(object) = schema.as_object_mut() {
                    let kind = json!({ "const": entry.kind, "description": entry.summary });
                    object.entry("properties").or_insert_with(|| json!({}))["kind"] = kind;
                    let required = object.entry("required").or_insert_with(|| json!([]));
                    if let Some(keys) = required.as_array_mut() {
                        keys.insert(0, json!("kind"));
                    }
                }
                schema
            })
            .collect();
        json!({ "oneOf": kinds }).try_into().unwrap_or_default()
    }

    fn find(&self, object: &Value) -> Result<(&Entry<T>, Value), KeyError> {
        let Value::Object(map) = object else {
            let problem = format!("expected an object with a \"kind\", found {object}");
            return Err(KeyError::value("", problem));
        };
        let mut map: Map<String, Value> = map.clone();
        let known: Vec<&str> = self.0.iter().map(|entry| entry.kind).collect();
        let kind = match map.remove("kind") {
            Some(Value::String(kind)) => kind,
            Some(other) => {
                return Err(KeyError::value("kind", format!("expected a name, found {other}")));
            }
            None => return Err(KeyError::value("kind", format!("missing; one of {known:?}"))),
        };
        match self.0.iter().find(|entry| entry.kind == kind) {
            Some(entry) => Ok((entry, Value::Object(map))),
            None => Err(KeyError::value(
                "kind",
                format!(
                    "no {} is called \"{kind}\"{}; known: {}",
                    T::WORD,
                    nearest(&kind, &known),
                    known.join(", ")
                ),
            )),
        }
    }
}
