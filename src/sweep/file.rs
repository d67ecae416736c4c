//! The sweep file.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::SweepError;
use crate::config::{Count, KeyError, parse, read_file};

/// The longest name of a sweep: its runs' names are longer by a hyphen and a hash.
const MAX_NAME: usize = 80;
/// What every run's launcher may say instead of the number of ranks.
const RANKS: &str = "{ranks}";

/// The sweep file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    base: Value,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    grid: Map<String, Value>,
    #[serde(default)]
    list: Vec<Map<String, Value>>,
    #[serde(default = "one")]
    ranks: Count,
    #[serde(default = "mpirun")]
    launcher: Vec<String>,
}

fn one() -> Count {
    Count::constant(1.0)
}

fn mpirun() -> Vec<String> {
    ["mpirun", "-n", RANKS].map(str::to_owned).to_vec()
}

/// An axis of the grid: dotted keys that are set alike, and the values that they take.
#[derive(Clone, Debug)]
pub struct Axis {
    /// One key, or several that vary together.
    pub keys: Vec<String>,
    /// One or more values.
    pub values: Vec<Value>,
}

/// A sweep file, read and checked as far as it goes without the configs.
#[derive(Debug)]
pub struct SweepFile {
    /// Name of the sweep.
    pub name: String,
    /// The config that all members start from.
    pub base: Value,
    /// What is set in every member that has a use for it, unless list or grid say otherwise.
    pub set: Vec<(String, Value)>,
    /// The axes of the grid.
    pub grid: Vec<Axis>,
    /// Settings, each of which is combined with the whole grid; one without settings if there are none.
    pub list: Vec<Vec<(String, Value)>>,
    /// The most ranks that a run gets.
    ranks: usize,
    launcher: Vec<String>,
}

impl SweepFile {
    /// Reads a sweep file, and the config that it names as `base`, by its path from the file's folder.
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        Self::new(path, read_file(path)?)
    }

    /// Checks what a sweep file holds; `path` says where that stands.
    pub fn new(path: &Path, value: Value) -> Result<Self, SweepError> {
        let wrong = |error: KeyError| SweepError::File { path: path.to_owned(), error };
        let written: Written = parse(value).map_err(wrong)?;
        let base = match &written.base {
            Value::String(name) => read_file(&path.parent().unwrap_or(Path::new("")).join(name))?,
            Value::Object(_) => written.base.clone(),
            other => {
                let problem = format!("expected the path of a config, or a config, found {other}");
                return Err(wrong(KeyError::value("base", problem)));
            }
        };
        Self::from_written(written, base).map_err(wrong)
    }

    fn from_written(written: Written, mut base: Value) -> Result<Self, KeyError> {
        check_name(&written.name)?;
        base["name"] = json!(written.name);
        written.set.keys().try_for_each(|key| check_key(key)).map_err(|e| e.below("set"))?;
        let grid = written.grid.into_iter().map(|(key, values)| axis(key, values));
        let grid = grid.collect::<Result<Vec<_>, _>>().map_err(|e| e.below("grid"))?;
        check_distinct(&grid).map_err(|e| e.below("grid"))?;
        let entries = written.list.into_iter().enumerate();
        let mut list = entries
            .map(|(i, entry)| entry_of(entry, &grid).map_err(|e| e.below(&format!("list[{i}]"))))
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            list.push(vec![]);
        }
        Ok(Self {
            name: written.name,
            base,
            set: written.set.into_iter().collect(),
            grid,
            list,
            ranks: written.ranks.get(),
            launcher: written.launcher,
        })
    }

    /// Ranks of a run: the results do not depend on them, and each hosts at least one worker.
    pub fn ranks(&self, workers: usize) -> usize {
        self.ranks.min(workers)
    }

    /// Program and arguments that start a run on so many ranks; empty if nothing is to do so.
    pub fn launcher(&self, ranks: usize) -> Vec<String> {
        self.launcher.iter().map(|word| word.replace(RANKS, &ranks.to_string())).collect()
    }
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(legal)
    {
        return Ok(());
    }
    let problem = format!(
        "must be 1 to {MAX_NAME} letters, digits and . _ - not beginning with . or -, found {name:?}"
    );
    Err(KeyError::value("name", problem))
}

fn check_key(key: &str) -> Result<(), KeyError> {
    match key.split('.').next() {
        Some("name") => {
            Err(KeyError::value(key, "the sweep names its runs itself; remove this key".into()))
        }
        _ => Ok(()),
    }
}

fn axis(key: String, values: Value) -> Result<Axis, KeyError> {
    let keys: Vec<String> = key.split(',').map(|key| key.trim().to_owned()).collect();
    keys.iter().try_for_each(|key| check_key(key))?;
    match values {
        Value::Array(values) if !values.is_empty() => Ok(Axis { keys, values }),
        other => {
            let problem = format!("expected a list of one or more values, found {other}");
            Err(KeyError::value(&key, problem))
        }
    }
}

fn check_distinct(grid: &[Axis]) -> Result<(), KeyError> {
    let mut keys: Vec<&String> = grid.iter().flat_map(|axis| &axis.keys).collect();
    keys.sort();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(KeyError::value(pair[0], "stands on two axes; remove one".into())),
        None => Ok(()),
    }
}

fn entry_of(entry: Map<String, Value>, grid: &[Axis]) -> Result<Vec<(String, Value)>, KeyError> {
    for key in entry.keys() {
        check_key(key)?;
        if grid.iter().any(|axis| axis.keys.contains(key)) {
            return Err(KeyError::value(key, "stands in the grid, too; remove one".into()));
        }
    }
    Ok(entry.into_iter().collect())
}
