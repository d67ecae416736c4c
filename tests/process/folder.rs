//! Folders of runs, as they are found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below a folder with its content.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => {
                found.append(&mut files(&path));
                found.insert(path, vec![]);
            }
            false => {
                let bytes = fs::read(&path).expect("a readable file");
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Makes a folder that is like another one.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a writable folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a readable file")),
        }
    }
}

/// Iterations of the sealed checkpoint sets of a folder, ascending.
pub fn sets(output: &Path) -> Vec<u64> {
    let entries = fs::read_dir(output).into_iter().flatten().flatten();
    let sealed = entries.filter(|entry| entry.path().join("manifest.json").exists());
    let number =
        |set: fs::DirEntry| set.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok();
    let mut sets: Vec<u64> = sealed.filter_map(number).collect();
    sets.sort_unstable();
    sets
}
