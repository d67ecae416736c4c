//! Who may see whom: the paths in the sources name no room that the table does not allow, and the
//! table allows none that is not named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each room (a folder or file of `src`) knows of. `cli`, `lib` and `main` may know all.
const ROOMS: [(&str, &str); 28] = [
    ("algorithms", "archive config graph net problems registry scalar vars workers"),
    ("archive", "scalar vars"),
    ("checkpoint", "archive comm output system"),
    ("comm", ""),
    ("compressors", "archive config key packet registry scalar simd vars"),
    ("config", "algorithms compressors data feedback graph net problems registry vars"),
    ("data", "config key product scalar"),
    ("error", "checkpoint comm config data log net output problems sweep"),
    ("evaluate", "net problems scalar vars"),
    ("gradients", "key problems vars"),
    ("graph", "config key"),
    ("key", ""),
    ("log", "config evaluate net output problems system"),
    ("feedback", "archive compressors config packet registry scalar vars"),
    ("net", "archive comm compressors feedback graph key packet problems scalar simd vars workers"),
    ("output", "system"),
    ("packet", "scalar"),
    ("prelude", "config data key problems registry scalar vars"),
    ("problems", "config data key product registry scalar simd vars"),
    ("product", "scalar"),
    ("registry", "config scalar"),
    (
        "run",
        "algorithms archive checkpoint comm compressors config data error evaluate feedback log net \
         output problems scalar system vars workers",
    ),
    ("scalar", "registry"),
    ("simd", ""),
    ("sweep", "checkpoint config data log output system"),
    ("system", "comm product"),
    ("vars", "scalar simd"),
    ("workers", "problems scalar vars"),
];

/// Rooms that may open files or write to terminals.
const FILES: &str = "checkpoint cli config data error log main output run sweep system";

/// One source file without its tests and comments.
struct Source {
    /// Path below `src`.
    path: PathBuf,
    /// Folder or file of `src` that it belongs to.
    room: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = vec![];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder of sources") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let path = path.strip_prefix(&root).expect("a path below src").to_owned();
                sources.push(Source::new(path, &text));
            }
        }
    }
    assert!(sources.len() > 40, "only {} sources found", sources.len());
    sources
}

impl Source {
    fn new(path: PathBuf, text: &str) -> Self {
        let untested = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = untested.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.flat_map(|line| [line, "\n"]).collect();
        let room = path.iter().next().map(Path::new).and_then(Path::file_stem);
        let room = room.expect("a file name").to_string_lossy().into_owned();
        Self { path, room, code }
    }

    /// What follows each `root::` that begins a path.
    fn paths(&self, root: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{root}::");
        let starts: Vec<usize> = (self.code.match_indices(&prefix))
            .filter(|(at, _)| !self.code[..*at].ends_with(|c: char| c == ':' || is_name(c)))
            .map(|(at, _)| at + prefix.len())
            .collect();
        starts.into_iter().map(|at| &self.code[at..])
    }

    /// Number of `super` that leads to the crate.
    fn depth(&self) -> usize {
        let is_folder = self.path.ends_with("mod.rs");
        self.path.iter().count() - usize::from(is_folder)
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first name of a path.
fn name(path: &str) -> &str {
    path.split(|c| !is_name(c)).next().unwrap_or_default()
}

#[test]
fn rooms_know_what_the_table_says_and_nothing_else() {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let known = seen.entry(source.room.clone()).or_default();
        for path in source.paths("crate") {
            let room = name(path);
            assert_ne!(room, "", "{}: write one path a line", source.path.display());
            known.insert(room.to_owned());
        }
        known.remove(&source.room);
    }
    for free in ["cli", "lib", "main"] {
        assert!(seen.remove(free).is_some(), "there is no {free}");
    }
    let table: BTreeMap<String, BTreeSet<String>> = (ROOMS.iter())
        .map(|(room, known)| ((*room).into(), known.split_whitespace().map(Into::into).collect()))
        .collect();
    for (room, known) in &seen {
        assert_eq!(
            Some(known),
            table.get(room),
            "src/{room}: what it knows, and what the table says"
        );
    }
    assert!(table.keys().eq(seen.keys()), "rooms of the table, and rooms in src");
}

#[test]
fn no_room_is_left_through_super() {
    for source in sources() {
        let outside = "super::".repeat(source.depth());
        assert!(!source.code.contains(&outside), "{}: {outside}", source.path.display());
    }
}

#[test]
fn mpi_is_named_in_one_module() {
    let naming: Vec<Source> =
        sources().into_iter().filter(|source| source.paths("mpi").next().is_some()).collect();
    let naming: Vec<&Path> = naming.iter().map(|source| &*source.path).collect();
    assert_eq!(naming, ["comm/mpi.rs", "comm/mpi/neighbours.rs"].map(Path::new));
}

#[test]
fn hdf5_is_named_in_the_log_alone() {
    for source in sources().iter().filter(|source| source.room != "log") {
        let named: Vec<&str> = ["hdf5", "hdf5_sys"]
            .into_iter()
            .flat_map(|library| source.paths(library).map(name))
            .collect();
        let version = source.room == "system" && named == ["library_version"];
        assert!(named.is_empty() || version, "{}: {named:?}", source.path.display());
    }
}

#[test]
fn files_are_opened_where_they_are_read_or_written() {
    for source in sources() {
        if !FILES.split_whitespace().any(|room| room == source.room) {
            let module = source.paths("std").map(name).find(|m| ["fs", "io", "path"].contains(m));
            assert_eq!(module, None, "{}: std::", source.path.display());
        }
    }
}

#[test]
fn the_tests_and_comments_of_a_file_do_not_count() {
    let text = "use crate::a::B;\n// crate::b\nfn f() { not_crate::c::d(crate::e::F) }\n\
                #[cfg(test)]\nmod tests { use crate::g; }\n";
    let source = Source::new("room/file.rs".into(), text);
    assert_eq!(source.paths("crate").map(name).collect::<Vec<_>>(), ["a", "e"]);
    assert_eq!((&*source.room, source.depth()), ("room", 2));
    assert_eq!(Source::new("room/mod.rs".into(), "").depth(), 1);
}
