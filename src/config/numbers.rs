//! Numbers with a range: the type of a key says what values it may have, the error and the JSON
//! Schema follow from it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($inner:ty), $says:literal, $valid:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub fn get(self) -> $inner {
                self.0
            }

            /// A constant of the program.
            ///
            /// # Panics
            /// If it is out of range.
            pub fn constant(value: f64) -> Self {
                Self::try_from(value).expect("a constant in range")
            }
        }

        impl TryFrom<f64> for $name {
            type Error = String;
            fn try_from(value: f64) -> Result<Self, String> {
                let valid: fn(f64) -> bool = $valid;
                match valid(value) {
                    true => Ok(Self(value as $inner)),
                    false => Err(format!(concat!("must be ", $says, ", found {}"), value)),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

ranged!(
    /// A finite number above 0.
    Positive(f64), "a number above 0", |v| v > 0.0 && v.is_finite(),
    { "type": "number", "exclusiveMinimum": 0 }
);
ranged!(
    /// A finite number of 0 or more.
    NonNegative(f64), "a number of 0 or more", |v| v >= 0.0 && v.is_finite(),
    { "type": "number", "minimum": 0 }
);
ranged!(
    /// Above 0 and at most 1.
    Ratio(f64), "above 0 and at most 1", |v| v > 0.0 && v <= 1.0,
    { "type": "number", "exclusiveMinimum": 0, "maximum": 1 }
);
ranged!(
    /// Above 0 and below 1.
    Share(f64), "above 0 and below 1", |v| v > 0.0 && v < 1.0,
    { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }
);
ranged!(
    /// A whole number from 1 to 1,000,000,000.
    Count(usize), "a whole number from 1 to 1e9",
    |v| (1.0..=1e9).contains(&v) && v.fract() == 0.0,
    { "type": "integer", "minimum": 1, "maximum": 1_000_000_000 }
);

/// Floating-point numbers up to this are told from their neighbours.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number of 64 bits; up to 2^53 it may be written as 1e3, too.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let is_whole = |v: &f64| (0.0..=EXACT).contains(v) && v.fract() == 0.0;
    let whole = || number.as_f64().filter(is_whole).map(|v| v as u64);
    number.as_u64().or_else(whole).ok_or_else(|| {
        D::Error::custom(format!("must be a whole number from 0 to 2^64 - 1, found {number}"))
    })
}
