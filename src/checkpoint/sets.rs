//! The sets of an output folder by their names.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::output::OutputError;

/// Sets that a run keeps.
pub const KEPT: usize = 2;
const PREFIX: &str = "checkpoint-";
pub const MANIFEST: &str = "manifest.json";

/// Name of a set's folder.
pub fn name(iteration: u64) -> String {
    format!("{PREFIX}{iteration}")
}

/// Name of a set's part.
pub fn part(iteration: u64, node: usize) -> String {
    format!("{}/part-{node:04}", name(iteration))
}

/// Name of a set's manifest.
pub fn manifest(iteration: u64) -> String {
    format!("{}/{MANIFEST}", name(iteration))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> OutputError + '_ {
    move |source| OutputError::Write { path: path.to_owned(), source }
}

/// Iterations of the folders that look like sets, ascending, and whether each is sealed.
fn found(folder: &Path) -> Result<Vec<(u64, bool)>, OutputError> {
    let read = |source| OutputError::Read { path: folder.to_owned(), source };
    let mut found = vec![];
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(read)?,
    };
    for entry in entries {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(iteration) = number.and_then(|digits| digits.parse().ok()) {
            found.push((iteration, entry.path().join(MANIFEST).exists()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Iterations of the sealed sets, ascending.
pub fn sealed(folder: &Path) -> Result<Vec<u64>, OutputError> {
    let found = found(folder)?;
    Ok(found.into_iter().filter(|&(_, sealed)| sealed).map(|(iteration, _)| iteration).collect())
}

/// Removes what was never sealed.
pub fn clean(folder: &Path) -> Result<(), OutputError> {
    let mut unsealed = found(folder)?.into_iter().filter(|&(_, sealed)| !sealed);
    unsealed.try_for_each(|(iteration, _)| remove(folder, iteration))
}

/// Removes all sets but so many newest ones.
pub fn keep(folder: &Path, kept: usize) -> Result<(), OutputError> {
    let sets = sealed(folder)?;
    let surplus = sets.len().saturating_sub(kept);
    sets[..surplus].iter().try_for_each(|&iteration| remove(folder, iteration))
}

/// Removes a set: its seal first, so that it is never half a set. What then stays of the folder, as files that
/// another process on the same NFS client has open, is no set; the next start tries again.
fn remove(folder: &Path, iteration: u64) -> Result<(), OutputError> {
    let set = folder.join(name(iteration));
    let seal = set.join(MANIFEST);
    match fs::remove_file(&seal) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&seal)(error)),
        _ => (),
    }
    File::open(&set).and_then(|set| set.sync_all()).map_err(failed(&set))?;
    let _ = fs::remove_dir_all(&set);
    Ok(())
}

/// Puts a set aside that cannot be used, for whoever wants to look at it; its new path.
pub fn put_aside(folder: &Path, iteration: u64) -> Result<PathBuf, OutputError> {
    let (set, aside) =
        (folder.join(name(iteration)), folder.join(format!("damaged-{}", name(iteration))));
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&aside)(error)),
        _ => (),
    }
    fs::rename(&set, &aside).map_err(failed(&set))?;
    Ok(aside)
}

/// Makes the folder of a set, durably; not the output folder, should that have vanished.
pub fn create(folder: &Path, iteration: u64) -> Result<(), OutputError> {
    let set = folder.join(name(iteration));
    match fs::create_dir(&set) {
        // Another node was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => (),
        made => made.map_err(failed(&set))?,
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(folder: &Path, iteration: u64, sealed: bool) {
        create(folder, iteration).unwrap();
        fs::write(folder.join(part(iteration, 0)), b"x").unwrap();
        if sealed {
            fs::write(folder.join(manifest(iteration)), b"x").unwrap();
        }
    }

    #[test]
    fn two_sealed_sets_are_kept_and_remnants_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(sealed(&folder.join("none")).unwrap().is_empty());
        for (iteration, sealed) in [(9, true), (100, true), (20, true), (500, false)] {
            make(folder, iteration, sealed);
        }
        fs::create_dir(folder.join("checkpoint-x")).unwrap();
        assert_eq!(sealed(folder).unwrap(), [9, 20, 100]);
        clean(folder).unwrap();
        keep(folder, KEPT).unwrap();
        assert_eq!(found(folder).unwrap(), [(20, true), (100, true)]);
        let aside = put_aside(folder, 100).unwrap();
        assert!(aside.join("part-0000").exists());
        assert_eq!(sealed(folder).unwrap(), [20]);
        create(folder, 20).unwrap();
        assert!(create(&folder.join("gone"), 20).is_err() && !folder.join("gone").exists());
        keep(folder, 0).unwrap();
        assert!(sealed(folder).unwrap().is_empty() && folder.join("checkpoint-x").exists());
    }
}
