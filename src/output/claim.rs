//! The right to write to a folder, shown with each write.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::OutputError;
use super::files::sync_parent;
use super::holder::{Holder, LOCK};

/// The right to write to a folder, given by the [`Lock`](super::Lock) whose nonce it carries. The root
/// sends folder and nonce to the ranks that write, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    folder: PathBuf,
    nonce: u64,
}

impl Claim {
    /// The claim of the lock with this nonce.
    pub fn new(folder: &Path, nonce: u64) -> Self {
        Self { folder: folder.to_owned(), nonce }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock's nonce.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Reads the lock again: whether the folder still is this run's.
    pub fn check(&self) -> Result<(), OutputError> {
        let path = self.folder.join(LOCK);
        let how = match fs::read(&path) {
            Ok(bytes) => match Holder::parse(&bytes) {
                Some(holder) if holder.has_nonce(self.nonce) => return Ok(()),
                Some(holder) => format!("{holder} has taken it over"),
                None => format!("its file {LOCK} was overwritten"),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => format!("its file {LOCK} is gone"),
            Err(source) => return Err(OutputError::Read { path, source }),
        };
        Err(OutputError::LostLock { folder: self.folder.clone(), how })
    }

    /// Replaces a file of the folder; `name` may lead into a folder below it. All of it is durable when
    /// this returns. On failure the old file is as it was.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        self.replace_by(name, |file| file.write_all(bytes)).map(drop)
    }

    /// The same for a file that `fill` writes. The open file is returned: it is the one that was written,
    /// whatever has become of its name.
    pub fn replace_by(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<File, OutputError> {
        let path = self.folder.join(name);
        let aside = path.with_file_name(temporary_name(path.file_name(), self.nonce));
        let failed = OutputError::write(&path);
        let write = || {
            let mut file = File::create(&aside).map_err(&failed)?;
            fill(&mut file).and_then(|()| file.sync_all()).map_err(&failed)?;
            self.check()?;
            fs::rename(&aside, &path).and_then(|()| sync_parent(&path)).map_err(&failed)?;
            Ok(file)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })
    }
}

/// What a file is called while the holder of this nonce writes it.
pub(super) fn temporary_name(name: Option<&OsStr>, nonce: u64) -> OsString {
    let mut temporary = name.unwrap_or_default().to_owned();
    temporary.push(format!(".{nonce:016x}.tmp"));
    temporary
}

/// Which temporary files are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftovers {
    Locks,
    All,
}

/// Removes the temporary files of other nonces than this one. What cannot be removed is only in the way.
pub(super) fn remove_leftovers(folder: &Path, nonce: u64, which: Leftovers) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let left = entry
            .file_name()
            .to_str()
            .and_then(parse_temporary)
            .is_some_and(|(name, of)| of != nonce && (which == Leftovers::All || name == LOCK));
        if left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// File and nonce of a name that [`temporary_name`] gave.
fn parse_temporary(name: &str) -> Option<(&str, u64)> {
    let (name, nonce) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
    let nonce = (nonce.len() == 16).then(|| u64::from_str_radix(nonce, 16).ok())??;
    Some((name, nonce))
}
