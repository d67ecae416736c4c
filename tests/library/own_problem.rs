//! docs/own-problem.md shows the example as it is.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The blocks of a language on the page, in order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let starts = page.split(&fence[..]).skip(1);
    starts.map(|rest| rest.split("```").next().expect("a block")).collect()
}

fn without_blank_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn the_page_shows_the_whole_program_and_its_configs() {
    let page = read("docs/own-problem.md");
    let program = read("examples/own-problem/src/main.rs");
    let shown = blocks(&page, "rust").concat();
    assert_eq!(without_blank_lines(&shown), without_blank_lines(&program));
    let configs = ["ridge.json", "sweep.json"].map(|name| format!("examples/own-problem/{name}"));
    let shown = blocks(&page, "json");
    // The last one needs no program.
    assert_eq!(shown.len(), configs.len() + 1);
    for (shown, name) in shown.into_iter().zip(configs) {
        assert_eq!(shown, read(&name), "{name}");
    }
}

#[test]
fn the_program_is_as_short_as_the_page_says() {
    let lines = read("examples/own-problem/src/main.rs").lines().count();
    assert!(lines < 100, "{lines} lines");
}
