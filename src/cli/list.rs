//! `sobaya list`.

use std::fmt::Write;

use crate::data::{DATASETS, FORMATS};
use crate::registry::{Family, Registry};

/// A name and what is said of it: a summary, and its source or "-".
type Line = (&'static str, &'static str, &'static str);

/// Every kind with one line and its source.
pub fn text() -> String {
    let sections: [(&str, Vec<Line>); 6] = [
        ("Algorithms", kinds(&crate::algorithms::registry())),
        ("Compressors", kinds(&crate::compressors::coders())),
        ("Feedback", kinds(&crate::feedback::registry())),
        ("Problems", kinds(crate::problems::registry())),
        ("Data sets", DATASETS.to_vec()),
        ("Formats of your own data", FORMATS.to_vec()),
    ];
    let names = sections.iter().flat_map(|(_, lines)| lines).map(|(name, ..)| name.len());
    let width = names.max().unwrap_or(0) + 2;
    let mut out = String::new();
    for (title, lines) in sections {
        section(&mut out, title, &lines, width);
    }
    out
}

fn kinds<T: Family>(registry: &Registry<T>) -> Vec<Line> {
    registry.0.iter().map(|entry| (entry.kind, entry.summary, entry.source)).collect()
}

fn section(out: &mut String, title: &str, lines: &[Line], width: usize) {
    let _ = writeln!(out, "{title}");
    for &(name, summary, source) in lines {
        let _ = match source {
            "-" => writeln!(out, "  {name:<width$}{summary}"),
            _ => writeln!(out, "  {name:<width$}{summary} [{source}]"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_apart_from_what_is_said_of_it() {
        let text = text();
        let registry = crate::problems::registry();
        for (name, ..) in kinds(registry) {
            assert!(text.contains(&format!("\n  {name}  ")), "{name}: {text}");
        }
    }
}
