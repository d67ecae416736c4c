//! From a sweep file to its members: every combination of list and grid, each a whole config.
//!
//! A combination may set a key of the grid or of `set` that its config has no use for, as a compressor's
//! ratio where nothing is compressed. The plan refuses such a key as unused; it is then dropped, and
//! combinations that have become the same config are one member.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::file::Axis;
use super::{SweepError, SweepFile};
use crate::config::{ConfigError, KeyError, Plan, set_key};

/// No sweep has more combinations.
const MAX_COMBINATIONS: usize = 100_000;
/// Digits of a member's hash.
const HASH_DIGITS: usize = 12;

/// One run of a sweep.
#[derive(Clone, Debug)]
pub struct Member {
    /// First 12 hexadecimal digits of the SHA-256 of its resolved config without `name`; the name of its
    /// folder.
    pub hash: String,
    /// What list and grid set in it, by dotted key.
    pub settings: Map<String, Value>,
    /// Its config.
    pub plan: Plan,
}

impl Member {
    /// Its settings in words.
    pub fn words(&self) -> String {
        words(self.settings.iter())
    }

    /// What the sweep's record says of it.
    pub fn record(&self) -> Value {
        json!({ "hash": self.hash, "settings": self.settings, "config": self.plan.resolved })
    }
}

fn words<'a>(settings: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let words: Vec<String> = settings
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
        .collect();
    if words.is_empty() { "as the base".into() } else { words.join(" ") }
}

/// Every member, in order: the entries of the list one after the other, and in each the grid, its keys
/// sorted and the last of them varying fastest.
pub fn members(file: &SweepFile) -> Result<Vec<Member>, SweepError> {
    check_size(file)?;
    let mut members: Vec<Member> = vec![];
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut unused = BTreeMap::new();
    for entry in &file.list {
        for chosen in combinations(&file.grid) {
            let combination = Combination::new(file, entry, chosen);
            let member = combination.resolve(&file.name, &mut used, &mut unused)?;
            match places.get(&member.hash) {
                Some(&place) => merge(&mut members[place], member)?,
                None => {
                    places.insert(member.hash.clone(), members.len());
                    members.push(member);
                }
            }
        }
    }
    let set = file.set.iter().map(|(key, _)| ("`set`", key));
    let grid = file.grid.iter().flat_map(|axis| &axis.keys).map(|key| ("the grid", key));
    match set.chain(grid).find(|(_, key)| !used.contains(&key[..])) {
        Some((place, key)) => {
            let problem = unused.remove(&key[..]).unwrap_or_default();
            Err(SweepError::NobodyUses { key: key.clone(), place, problem })
        }
        None => Ok(members),
    }
}

fn check_size(file: &SweepFile) -> Result<(), SweepError> {
    let lengths = file.grid.iter().map(|axis| axis.values.len());
    let size = lengths.fold(file.list.len(), usize::saturating_mul);
    if size > MAX_COMBINATIONS {
        return Err(SweepError::TooMany { size, most: MAX_COMBINATIONS });
    }
    Ok(())
}

/// The choices of one value on each axis, the last axis varying fastest.
fn combinations<'a>(grid: &'a [Axis]) -> impl Iterator<Item = Vec<(&'a str, &'a Value)>> {
    let size: usize = grid.iter().map(|axis| axis.values.len()).product();
    (0..size).map(move |mut rest| {
        let choose = |Axis { keys, values }: &'a Axis| {
            let value = &values[rest % values.len()];
            rest /= values.len();
            keys.iter().rev().map(move |key| (&key[..], value))
        };
        let mut chosen: Vec<_> = grid.iter().rev().flat_map(choose).collect();
        chosen.reverse();
        chosen
    })
}

/// An entry of the list with a choice on each axis, and what is set in all members.
struct Combination<'a> {
    base: &'a Value,
    set: Vec<(&'a str, &'a Value)>,
    entry: &'a [(String, Value)],
    chosen: Vec<(&'a str, &'a Value)>,
}

impl<'a> Combination<'a> {
    fn new(
        file: &'a SweepFile,
        entry: &'a [(String, Value)],
        chosen: Vec<(&'a str, &'a Value)>,
    ) -> Self {
        let set = file.set.iter().map(|(key, value)| (&key[..], value)).collect();
        Self { base: &file.base, set, entry, chosen }
    }

    /// The config, without those keys of `set` and the grid that it has no use for: why each was dropped goes
    /// to `unused`, and those that stay to `used`.
    fn resolve(
        mut self,
        name: &str,
        used: &mut BTreeSet<&'a str>,
        unused: &mut BTreeMap<&'a str, String>,
    ) -> Result<Member, SweepError> {
        loop {
            let error = match self.plan() {
                Ok(plan) => {
                    used.extend(self.set.iter().chain(&self.chosen).map(|(key, _)| *key));
                    return self.member(name, plan);
                }
                Err(error) => error,
            };
            let drop = match &error {
                ConfigError::Key(KeyError { key, unused: true, .. }) => key.clone(),
                _ => return Err(self.refused(error)),
            };
            let before = self.set.len() + self.chosen.len();
            for settings in [&mut self.set, &mut self.chosen] {
                settings.retain(|(key, _)| {
                    let kept = !lies_at_or_below(key, &drop);
                    if !kept {
                        unused.entry(*key).or_insert_with(|| error.to_string());
                    }
                    kept
                });
            }
            if self.set.len() + self.chosen.len() == before {
                return Err(self.refused(error));
            }
        }
    }

    /// The config with objects set before the keys within them, and among alike what is set in all members
    /// first.
    fn plan(&self) -> Result<Plan, ConfigError> {
        let set = self.set.iter().copied().filter(|(key, _)| !self.says(key));
        let mut settings: Vec<(&str, &Value)> = set.chain(self.settings()).collect();
        settings.sort_by_key(|(key, _)| depth(key));
        let mut config = self.base.clone();
        for (key, value) in settings {
            set_key(&mut config, key, value.clone()).map_err(|p| KeyError::value(key, p))?;
        }
        if config.pointer("/checkpoint/at_end").is_none() {
            // Nobody gives the members of a sweep more iterations one by one, and they are many.
            let _ = set_key(&mut config, "checkpoint.at_end", json!(false));
        }
        Plan::new(config)
    }

    /// Whether list or grid put a whole value in the place of what holds a key, and say there what the key is.
    fn says(&self, key: &str) -> bool {
        let parents = self.settings().filter_map(|(parent, value)| {
            Some((depth(parent), key.strip_prefix(parent)?.strip_prefix('.')?, value))
        });
        let Some((_, rest, value)) = parents.max_by_key(|(depth, ..)| *depth) else { return false };
        let mut at = Some(value);
        for part in rest.split('.') {
            // Nothing lies within what is no object.
            let Some(Value::Object(map)) = at else { break };
            at = map.get(part);
        }
        at.is_some()
    }

    fn settings(&self) -> impl Iterator<Item = (&str, &Value)> {
        let entry = self.entry.iter().map(|(key, value)| (&key[..], value));
        entry.chain(self.chosen.iter().copied())
    }

    /// The member, its run named after the sweep and its own hash.
    fn member(&self, sweep: &str, plan: Plan) -> Result<Member, SweepError> {
        let hash = plan.outcome_sha256_hex()[..HASH_DIGITS].to_owned();
        let mut config = plan.resolved;
        config["name"] = json!(format!("{sweep}-{hash}"));
        let plan = Plan::new(config).map_err(|error| self.refused(error))?;
        let settings = self.settings().map(|(key, value)| (key.to_owned(), value.clone()));
        Ok(Member { hash, settings: settings.collect(), plan })
    }

    fn refused(&self, error: ConfigError) -> SweepError {
        let settings: Map<String, Value> =
            self.settings().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let advice = match &error {
            ConfigError::Key(KeyError { unused: true, .. }) => {
                "; a sweep drops unused keys of `set` and the grid alone: set this one there, or in \
                 those entries of the list that use it"
            }
            _ => "",
        };
        SweepError::Member { settings: words(settings.iter()), error, advice }
    }
}

/// How many objects hold a dotted key, the config among them.
fn depth(key: &str) -> usize {
    key.split('.').count()
}

/// Whether a dotted key names `parent` or something within it.
fn lies_at_or_below(key: &str, parent: &str) -> bool {
    key.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Two combinations that are the same run: what they set alike made it.
fn merge(first: &mut Member, second: Member) -> Result<(), SweepError> {
    if first.plan.resolved != second.plan.resolved {
        let words = [first.words(), second.words()];
        return Err(SweepError::Collision { hash: second.hash, words });
    }
    first.settings.retain(|key, value| second.settings.get(key) == Some(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_axis_varies_fastest() {
        let axis = |keys: &[&str], values: [i64; 2]| Axis {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            values: values.map(|v| json!(v)).to_vec(),
        };
        let grid = [axis(&["a"], [1, 2]), axis(&["b", "c"], [3, 4])];
        let all: Vec<Vec<i64>> = combinations(&grid)
            .map(|chosen| chosen.iter().map(|(_, value)| value.as_i64().unwrap()).collect())
            .collect();
        assert_eq!(all, [[1, 3, 3], [1, 4, 4], [2, 3, 3], [2, 4, 4]]);
        assert_eq!(combinations(&[]).count(), 1);
    }

    #[test]
    fn keys_lie_below_whole_names_only() {
        assert!(lies_at_or_below("compressor.ratio", "compressor"));
        assert!(lies_at_or_below("compressor", "compressor"));
        assert!(!lies_at_or_below("compressors", "compressor"));
        assert!(!lies_at_or_below("compressor", "compressor.ratio"));
    }
}
