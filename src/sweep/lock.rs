//! Who works in a folder: a locked file, free again as soon as its last holder has ended, however that
//! came about.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::SweepError;

/// What remains of a run whose sweep was killed ends within this time, and gives its locks back.
pub const LINGER: Duration = Duration::from_secs(15);
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped, here and in the children that were given it.
pub struct Lock(File);

/// With whom a lock is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sharing {
    Alone,
    WithTasks,
}

impl Lock {
    /// Takes the lock, waiting for so long if need be; `None` if another process holds it.
    pub fn take(
        path: &Path,
        sharing: Sharing,
        patience: Duration,
    ) -> Result<Option<Self>, SweepError> {
        let failed = |source| SweepError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        // Not truncated: the holder's line stands there.
        let file = options.create(true).truncate(false).write(true).open(path).map_err(failed)?;
        let start = Instant::now();
        loop {
            let tried = match sharing {
                Sharing::Alone => file.try_lock(),
                Sharing::WithTasks => file.try_lock_shared(),
            };
            match tried {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(refused(path, source)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= patience => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        let lock = Self(file);
        lock.sign().map_err(failed)?;
        Ok(Some(lock))
    }

    /// Whether somebody holds the lock.
    pub fn is_held(path: &Path) -> bool {
        // Without creating the file; the lock that is taken here is gone at once.
        File::open(path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Who holds it, for messages.
    pub fn holder(path: &Path) -> String {
        let line = std::fs::read_to_string(path).unwrap_or_default();
        if line.is_empty() { "another process".into() } else { line.trim().to_owned() }
    }

    fn sign(&self) -> std::io::Result<()> {
        self.0.set_len(0)?;
        let line = format!("process {} on {}\n", std::process::id(), crate::system::host());
        (&self.0).write_all(line.as_bytes())
    }

    /// The open file, for a child to keep.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Why a file cannot be locked: mostly that its file system has no locks.
fn refused(path: &Path, source: Error) -> SweepError {
    let path = path.to_owned();
    // The last one is a server's that has none to give.
    match source.kind() == ErrorKind::Unsupported || source.raw_os_error() == Some(libc::ENOLCK) {
        true => SweepError::NoLocks { path, source },
        false => SweepError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_said() {
        let said = |code| refused(Path::new("a"), Error::from_raw_os_error(code)).to_string();
        for code in [libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOLCK] {
            assert!(said(code).contains("no file locks"), "{}", said(code));
        }
        assert!(said(libc::EIO).contains("check space and permissions"));
    }
}
