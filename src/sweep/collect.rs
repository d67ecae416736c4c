//! `sobaya sweep SWEEP.json collect`: everything that is finished, in two files.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Sweep, SweepError};
use crate::log;
use crate::output;

/// What all rows of the table have in common, or says nothing of the run.
const LEFT_OUT: [&str; 2] = ["name", "status"];

impl Sweep {
    /// Writes `collected.h5`, a group for each finished member, and `summary.csv`, a row for each: hash,
    /// settings, the figures of its summary.json, and the program that made it. Returns how many members are in them.
    /// Refused, and nothing written, where members would be lost that earlier files may hold.
    pub fn collect(&self) -> Result<usize, SweepError> {
        let recorded = self.recorded()?;
        recorded.as_ref().map_or(Ok(()), |record| self.keeps_all(record))?;
        let finished = self.finished()?;
        if finished.is_empty() {
            return Err(SweepError::NothingFinished { folder: self.folder.clone() });
        }
        if recorded != Some(self.record()) {
            self.claim()?;
        }
        let logs: Vec<_> = finished
            .iter()
            .map(|(member, folder, _)| (member.hash.clone(), folder.log()))
            .collect();
        log::collect(&self.folder.join("collected.h5"), &logs)?;
        let settings: BTreeSet<&String> =
            self.members.iter().flat_map(|member| member.settings.keys()).collect();
        let rows: Vec<Row> = (finished.iter())
            .map(|(member, folder, summary)| {
                let mut figures = flattened(summary);
                let program = folder.origin().map(|origin| origin.program());
                figures.insert("program".into(), json!(program));
                Row { hash: &member.hash, settings: &member.settings, figures }
            })
            .collect();
        let table = csv(&settings, &rows);
        output::replace(&self.folder.join("summary.csv"), table.as_bytes())?;
        Ok(finished.len())
    }
}

struct Row<'a> {
    hash: &'a str,
    settings: &'a Map<String, Value>,
    figures: Map<String, Value>,
}

/// A summary with dotted keys.
fn flattened(summary: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    for (key, value) in summary.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) => {
                let below = inner.iter().map(|(name, v)| (format!("{key}.{name}"), v.clone()));
                flat.extend(below);
            }
            _ if LEFT_OUT.contains(&&key[..]) => (),
            _ => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    flat
}

fn csv(settings: &BTreeSet<&String>, rows: &[Row<'_>]) -> String {
    let figures: BTreeSet<&String> = rows.iter().flat_map(|row| row.figures.keys()).collect();
    let titles = settings.iter().chain(&figures).map(|title| quoted(title));
    let mut out = line(std::iter::once("hash".to_owned()).chain(titles));
    for row in rows {
        let of = |values: &Map<String, Value>, key: &String| {
            values.get(key).map_or_else(String::new, cell)
        };
        let settings = settings.iter().map(|key| of(row.settings, key));
        let figures = figures.iter().map(|key| of(&row.figures, key));
        out += &line(std::iter::once(row.hash.to_owned()).chain(settings).chain(figures));
    }
    out
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// A value as a cell: text as it is, null empty, objects as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

/// Text as RFC 4180 has it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_missing_ones_are_empty() {
        let settings = json!({ "algorithm": { "kind": "soba", "alpha": 0.1 } });
        let figures = flattened(&json!({ "name": "n", "status": "completed", "iterations": 3,
            "final": { "test_loss": null, "upper_loss": 0.5 } }));
        let row = Row { hash: "ab", settings: settings.as_object().unwrap(), figures };
        let (a, s) = ("algorithm".to_owned(), "seed".to_owned());
        let table = csv(&BTreeSet::from([&a, &s]), &[row]);
        let expected = "hash,algorithm,seed,final.test_loss,final.upper_loss,iterations\n\
                        ab,\"{\"\"alpha\"\":0.1,\"\"kind\"\":\"\"soba\"\"}\",,,0.5,3\n";
        assert_eq!(table, expected);
    }
}
