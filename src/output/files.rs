//! Making folders and replacing files so that they survive a loss of power.

use std::fs::{self, File};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

use super::OutputError;

/// Makes a folder with its parents. They are durable when this returns.
pub fn create_folder(folder: &Path) -> std::result::Result<(), OutputError> {
    create_with_parents(folder).map_err(OutputError::write(folder))
}

fn create_with_parents(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_with_parents(parent)?;
    }
    match fs::create_dir(folder) {
        // Another rank or run was quicker.
        Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => (),
        made => made?,
    }
    sync_parent(folder)
}

/// Makes the entry of a file or folder in its parent durable.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Replaces a file at once, outside of folders that a run has locked: a temporary file beside it, synced, renamed
/// over it, folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> std::result::Result<(), OutputError> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    let written = written.map_err(OutputError::write(path));
    let rename = || {
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    let renamed = written.and_then(|()| rename().map_err(OutputError::write(path)));
    renamed.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_with_their_parents_and_a_file_in_the_way_is_an_error() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a/b/c");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        replace(&deep.join("file"), b"old").unwrap();
        replace(&deep.join("file"), b"new").unwrap();
        assert_eq!(fs::read(deep.join("file")).unwrap(), b"new");
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 1);
        let error = create_folder(&deep.join("file/d")).unwrap_err().to_string();
        assert!(error.contains("file/d") && error.contains("check space"), "{error}");
    }
}
