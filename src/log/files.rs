//! Writing files so that a reader sees the old one or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::LogError;

fn write_error(path: &Path) -> impl Fn(std::io::Error) -> LogError + '_ {
    move |source| LogError::Write { path: path.to_owned(), source }
}

/// Makes the output folder with its parents.
pub fn create_folder(folder: &Path) -> Result<(), LogError> {
    fs::create_dir_all(folder).map_err(write_error(folder))
}

/// Creates the file that marks the folder as taken; of two that try, one succeeds.
pub fn claim(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    let path = folder.join(name);
    if folder.join("log.h5").exists() || folder.join("log.journal").exists() {
        return Err(LogError::Exists(folder.to_owned()));
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(LogError::Exists(folder.to_owned()));
        }
        Err(source) => return Err(write_error(&path)(source)),
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(write_error(&path))
}

/// Replaces a file at once: a temporary file beside it, synced, renamed over it, folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&temporary);
        write_error(path)(e)
    })
}
