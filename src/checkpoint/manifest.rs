//! `manifest.json`: what seals a set.
//!
//! One line of JSON that ends in `,"crc32c":"xxxxxxxx"}`, the CRC-32C of all bytes before.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CheckpointError;

/// Version of this format.
const FORMAT: u32 = 2;
/// What to do about a checkpoint of another run.
pub const REMEDY: &str = "give another --out, or the config that the run was started with";
const SEAL: &str = ",\"crc32c\":\"";
/// Length of what follows the bytes that the CRC is of: the seal, eight digits, `"}` and a newline.
const TAIL: usize = SEAL.len() + 8 + 3;

/// Why a manifest is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("{0}")]
    Damaged(String),
    #[error("it has format version {found}, this program reads {read}")]
    Format { found: String, read: u32 },
}

/// Where a section lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Number of the part.
    pub part: usize,
    pub offset: u64,
    pub length: u64,
    pub crc32c: u32,
}

impl Section {
    /// Where it ends, unless the numbers make no sense.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// What a run and its checkpoint must have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// "f32" or "f64".
    pub precision: String,
    /// Number of workers.
    pub workers: usize,
    /// Lengths of x, y and z.
    pub dims: [usize; 3],
    /// The config without the keys that may change.
    pub config: Value,
}

/// What a set consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub program_version: String,
    pub git_commit: String,
    /// Of the root's processor; empty if the program that wrote it did not say.
    #[serde(default)]
    pub product_kernels: String,
    /// Iterations done.
    pub iteration: u64,
    pub identity: Identity,
    /// Where the log stood; of no concern here.
    pub log: Value,
    /// Length of each part.
    pub parts: Vec<u64>,
    /// The server's state.
    pub server: Section,
    /// Each worker's state.
    pub workers: Vec<Section>,
}

impl Manifest {
    /// Of a set that this program writes.
    pub fn new(
        iteration: u64,
        identity: Identity,
        log: Value,
        parts: Vec<u64>,
        server: Section,
        workers: Vec<Section>,
    ) -> Self {
        Self {
            format: FORMAT,
            program_version: crate::system::version().into(),
            git_commit: crate::system::git_commit().into(),
            product_kernels: crate::system::product_kernels().into(),
            iteration,
            identity,
            log,
            parts,
            server,
            workers,
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.pop();
        let crc = crc32c::crc32c(text.as_bytes());
        format!("{text}{SEAL}{crc:08x}\"}}\n").into_bytes()
    }

    /// Reads the file.
    pub fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let damaged = |what: &str| Err(Flaw::Damaged(format!("its manifest {what}")));
        let Some(length) = bytes.len().checked_sub(TAIL) else { return damaged("is cut short") };
        let (body, tail) = bytes.split_at(length);
        if tail != format!("{SEAL}{:08x}\"}}\n", crc32c::crc32c(body)).as_bytes() {
            return damaged("is damaged: its checksum differs");
        }
        let whole = [body, b"}"].concat();
        // The format is read first: the rest may have another shape in another one.
        let wrong = |error: serde_json::Error| Flaw::Damaged(format!("its manifest: {error}"));
        let value: Value = serde_json::from_slice(&whole).map_err(wrong)?;
        if value["format"] != FORMAT {
            return Err(Flaw::Format { found: value["format"].to_string(), read: FORMAT });
        }
        serde_json::from_value(value).map_err(wrong)
    }

    /// Whether the sections of all workers and the server fill the parts without gap or overlap: no byte of
    /// them is without a checksum.
    pub fn is_gapless(&self) -> bool {
        let mut all: Vec<&Section> = self.workers.iter().chain([&self.server]).collect();
        all.sort_by_key(|section| (section.part, section.offset, section.length));
        let mut ends = vec![0; self.parts.len()];
        for section in all {
            let (Some(end), Some(filled)) = (section.end(), ends.get_mut(section.part)) else {
                return false;
            };
            if *filled != section.offset {
                return false;
            }
            *filled = end;
        }
        ends == self.parts
    }

    /// Whether a run of this identity can go on from here, `set` being the name of the set.
    pub fn suits(&self, ours: &Identity, set: &str) -> Result<(), CheckpointError> {
        let theirs = &self.identity;
        let other = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            Err(CheckpointError::Other {
                set: set.to_owned(),
                what: what.to_owned(),
                theirs: theirs.to_string(),
                ours: ours.to_string(),
                remedy: REMEDY,
            })
        };
        if theirs.precision != ours.precision {
            return other("the config key `precision`", &theirs.precision, &ours.precision);
        }
        if theirs.workers != ours.workers || self.workers.len() != ours.workers {
            return other("the number of workers", &self.workers.len(), &ours.workers);
        }
        super::same_config(set, &theirs.config, &ours.config)?;
        if theirs.dims != ours.dims {
            let words = |[x, y, _]: [usize; 3]| format!("x {x}, y {y}");
            return other("the length of the variables", &words(theirs.dims), &words(ours.dims));
        }
        Ok(())
    }
}

/// The first key, as a dotted path, at which two configs differ, and the values there.
pub fn first_difference(a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    let (Value::Object(left), Value::Object(right)) = (a, b) else {
        return (a != b).then(|| (String::new(), a.clone(), b.clone()));
    };
    let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().find_map(|key| {
        let (below, a, b) = first_difference(&a[key], &b[key])?;
        let path = if below.is_empty() { key.clone() } else { format!("{key}.{below}") };
        Some((path, a, b))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Manifest {
        let section = |part, offset| Section { part, offset, length: 8, crc32c: 7 };
        let config = json!({ "seed": 1, "algorithm": { "kind": "soba", "alpha": 0.1 } });
        let identity = Identity { precision: "f64".into(), workers: 3, dims: [1, 2, 2], config };
        let workers = vec![section(0, 8), section(1, 0), section(1, 8)];
        Manifest::new(20, identity, json!({ "bytes": 99 }), vec![16, 16], section(0, 0), workers)
    }

    #[test]
    fn a_flipped_bit_or_a_missing_byte_is_seen() {
        let bytes = example().bytes();
        assert!(serde_json::from_slice::<Value>(&bytes).is_ok(), "it is JSON");
        assert_eq!(Manifest::read(&bytes), Ok(example()));
        for at in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(Manifest::read(&flipped).is_err(), "bit {at}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::read(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_format_is_named() {
        let manifest = Manifest { format: FORMAT + 1, ..example() };
        let flaw = Flaw::Format { found: (FORMAT + 1).to_string(), read: FORMAT };
        assert_eq!(Manifest::read(&manifest.bytes()), Err(flaw));
    }

    #[test]
    fn sections_fill_the_parts() {
        assert!(example().is_gapless());
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = example();
            change(&mut manifest);
            manifest.is_gapless()
        };
        assert!(!with(&|m| m.parts[1] = 17));
        assert!(!with(&|m| m.workers[0].offset = 0));
        assert!(!with(&|m| m.workers[2].part = 2));
        assert!(!with(&|m| m.workers[2].length = u64::MAX));
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let ours = example().identity;
        assert!(example().suits(&ours, "s").is_ok());
        let message = |change: &dyn Fn(&mut Identity)| {
            let mut other = ours.clone();
            change(&mut other);
            let error = example().suits(&other, "checkpoint-20").unwrap_err();
            assert_eq!(error.code(), 6);
            error.to_string()
        };
        type Case<'c> = (&'c dyn Fn(&mut Identity), [&'c str; 3]);
        let cases: [Case; 4] = [
            (&|o| o.precision = "f32".into(), ["`precision`", "f64 there", "f32 now"]),
            (&|o| o.workers = 5, ["workers", "3 there", "5 now"]),
            (
                &|o| o.config["algorithm"]["alpha"] = json!(0.2),
                ["`algorithm.alpha`", "0.1 there", "0.2 now"],
            ),
            (&|o| o.dims = [1, 4, 4], ["length", "y 2", "y 4"]),
        ];
        for (change, words) in cases {
            let message = message(change);
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
