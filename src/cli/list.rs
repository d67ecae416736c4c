//! `sobaya list`.

use std::fmt::Write;

use crate::data::{DATASETS, FORMATS};
use crate::registry::{Family, Registry};

/// Every kind with one line and its source.
pub fn text() -> String {
    let mut out = String::new();
    section(&mut out, "Algorithms", kinds(&crate::algorithms::registry()));
    section(&mut out, "Compressors", kinds(&crate::compressors::coders()));
    section(&mut out, "Feedback", kinds(&crate::feedback::registry()));
    section(&mut out, "Problems", kinds(crate::problems::registry()));
    section(&mut out, "Data sets", DATASETS.to_vec());
    section(&mut out, "Formats of your own data", FORMATS.to_vec());
    out
}

fn kinds<T: Family>(registry: &Registry<T>) -> Vec<(&'static str, &'static str, &'static str)> {
    registry.0.iter().map(|entry| (entry.kind, entry.summary, entry.source)).collect()
}

fn section(out: &mut String, title: &str, lines: Vec<(&str, &str, &str)>) {
    let _ = writeln!(out, "{title}");
    for (name, summary, source) in lines {
        let _ = match source {
            "-" => writeln!(out, "  {name:<22}{summary}"),
            _ => writeln!(out, "  {name:<22}{summary} [{source}]"),
        };
    }
}
