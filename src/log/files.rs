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

/// Takes a run that did not complete out of its folder; other files stay. The summary goes first: what
/// is left then never looks like a run that has ended.
pub fn discard(folder: &Path) -> Result<(), LogError> {
    for name in ["summary.json", "log.h5", "log.journal", "config.json"] {
        for path in [folder.join(name), folder.join(name).with_extension("tmp")] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(write_error(&path)(e)),
                _ => (),
            }
        }
    }
    Ok(())
}

/// Replaces a file at once: a temporary file beside it, synced, renamed over it, folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    let written = written.map_err(write_error(path)).and_then(|()| publish(&temporary, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Makes a file that has been written durable and gives it its name.
pub fn publish(temporary: &Path, path: &Path) -> Result<(), LogError> {
    let rename = || {
        File::open(temporary)?.sync_all()?;
        fs::rename(temporary, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    rename().map_err(write_error(path))
}
