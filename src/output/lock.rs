//! The lock on an output folder: a file that is created exclusively and names its holder.
//!
//! File locks of the system fail on some cluster file systems, and end with the connection to the
//! server; this one holds until its owner is known to be dead: its process is gone from this machine, or
//! its Slurm job was started again, or its counter, which it raises every 5 s, has stood still for 60 s
//! of our own clock.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::OutputError;
use super::claim::{Claim, Leftovers, remove_leftovers};
use super::files::create_folder;
use super::holder::{Holder, LOCK, counter_offset, counter_text};
use super::taker::Taker;

/// The times of the protocol.
pub struct Pace {
    /// Between two counts of the holder.
    pub beat: Duration,
    /// Between two looks of a taker that cannot tell whether the holder lives.
    pub look: Duration,
    /// So long the counter must stand still.
    pub silence: Duration,
    /// Between a take-over and the look whose it became.
    pub settle: Duration,
}

const PACE: Pace = Pace {
    beat: Duration::from_secs(5),
    look: Duration::from_millis(500),
    silence: Duration::from_secs(60),
    settle: Duration::from_millis(200),
};

/// A folder that is this process's until the lock is dropped.
pub struct Lock {
    claim: Claim,
    /// Dropped, it ends the thread that counts.
    _beating: Sender<()>,
}

impl Lock {
    /// Takes a folder, which is made if there is none. With the lock of a dead run, which is taken over,
    /// come words about it. May take 60 s, and says so.
    pub fn take(folder: &Path) -> Result<(Self, Option<String>), OutputError> {
        Self::take_as(Holder::here()?, folder, &PACE)
    }

    pub(super) fn take_as(
        me: Holder,
        folder: &Path,
        pace: &Pace,
    ) -> Result<(Self, Option<String>), OutputError> {
        create_folder(folder)?;
        let (file, notice) = Taker::new(&me, folder, pace).take()?;
        let claim = Claim::new(folder, me.nonce());
        remove_leftovers(folder, claim.nonce(), Leftovers::All);
        let (beating, stop) = mpsc::channel();
        let lock = Self { claim, _beating: beating };
        let (beat, at) = (pace.beat, counter_offset(&me.to_text()));
        let thread = std::thread::Builder::new().name("lock".into());
        let started = thread.spawn(move || count(&file, at, beat, &stop));
        started.map_err(OutputError::write(&folder.join(LOCK)))?;
        Ok((lock, notice))
    }

    /// What those who write to the folder show.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The thread is not waited for: it may hang in a file system that does not answer, and all that it
        // could still do is count in a file without a name.
        if self.claim.check().is_ok() {
            let _ = fs::remove_file(self.claim.folder().join(LOCK));
        }
    }
}

/// Raises the counter until the lock is dropped. It is written to the open file: where the folder is
/// gone or another's, that is a file without a name, and nothing is created or overwritten.
fn count(file: &File, at: u64, beat: Duration, stop: &Receiver<()>) {
    let mut counter = 0;
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(beat) {
        counter += 1;
        // A count that fails is missed by others alone, who then may take the folder over; the run learns of
        // it when it next shows its claim.
        let _ = file.write_all_at(counter_text(counter).as_bytes(), at);
        let _ = file.sync_data();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::holder::read_lock;

    /// As much quicker as a busy machine allows.
    const QUICK: Pace = Pace {
        beat: Duration::from_millis(20),
        look: Duration::from_millis(10),
        silence: Duration::from_secs(5),
        settle: Duration::from_millis(10),
    };

    fn take(
        folder: &Path,
        change: impl Fn(&mut Holder),
    ) -> Result<(Lock, Option<String>), OutputError> {
        let mut me = Holder::here()?;
        change(&mut me);
        Lock::take_as(me, folder, &QUICK)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_lock_counts_in_place_and_is_given_back() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a/b");
        let (lock, notice) = take(&folder, |_| ()).unwrap();
        assert_eq!((notice, names(&folder)), (None, vec![LOCK.to_owned()]));
        let first = read_lock(&folder).unwrap().unwrap();
        let counted = |bytes: &[u8]| Holder::parse(bytes).unwrap().counter;
        assert_eq!(counted(&first), 0);
        let later = loop {
            let later = read_lock(&folder).unwrap().unwrap();
            if counted(&later) >= 3 {
                break later;
            }
        };
        assert_eq!(first.len(), later.len());
        lock.claim().check().unwrap();
        drop(lock);
        assert!(names(&folder).is_empty());
        take(&folder, |_| ()).unwrap();
    }

    #[test]
    fn a_living_process_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = Lock::take(folder.path()).unwrap();
        let before = std::time::Instant::now();
        // Even one of the same job, started again.
        let error = take(folder.path(), |me| me.restart_count = 1).err().unwrap().to_string();
        assert!(before.elapsed() < PACE.look);
        let me = format!("process {} on ", std::process::id());
        assert!(error.contains(&me) && error.contains("another --out"), "{error}");
        assert_eq!(names(folder.path()), [LOCK]);
    }

    #[test]
    fn what_does_not_count_is_dead_and_what_counts_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = |me: &mut Holder| me.boot_id = "another machine".into();
        let (living, _) = take(folder.path(), elsewhere).unwrap();
        let error = take(folder.path(), |_| ()).err().unwrap();
        assert!(matches!(error, OutputError::Locked { .. }), "{error}");
        living.claim().check().unwrap();
        drop(living);

        let silent = Pace { silence: Duration::from_millis(300), ..QUICK };
        for left in [
            Holder::here()
                .map(|mut me| {
                    elsewhere(&mut me);
                    me.to_text()
                })
                .unwrap(),
            "{".into(),
            String::new(),
        ] {
            fs::write(folder.path().join(LOCK), left).unwrap();
            let before = std::time::Instant::now();
            let (_lock, notice) =
                Lock::take_as(Holder::here().unwrap(), folder.path(), &silent).unwrap();
            assert!(before.elapsed() >= silent.silence);
            assert!(notice.unwrap().contains("silent for 300ms"));
            assert_eq!(names(folder.path()), [LOCK]);
        }
    }

    #[test]
    fn a_lock_that_was_lost_stops_every_write() {
        let folder = tempfile::tempdir().unwrap();
        let (lost, _) = take(folder.path(), |_| ()).unwrap();
        let claim = lost.claim().clone();
        claim.replace("file", b"old").unwrap();
        fs::create_dir(folder.path().join("set")).unwrap();

        let mut other = Holder::here().unwrap();
        other.job = Some("12".into());
        fs::rename(folder.path().join(LOCK), folder.path().join("aside")).unwrap();
        fs::write(folder.path().join(LOCK), other.to_text()).unwrap();
        let taken = read_lock(folder.path()).unwrap();
        for name in ["file", "set/file"] {
            let error = claim.replace(name, b"new").unwrap_err();
            assert!(matches!(error, OutputError::LostLock { .. }), "{error}");
            assert!(error.to_string().contains("(job 12) has taken it over"), "{error}");
        }
        std::thread::sleep(5 * QUICK.beat);
        drop(lost);
        assert_eq!(read_lock(folder.path()).unwrap(), taken, "another's lock is left alone");
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["aside", "file", LOCK, "set"]);
        assert!(names(&folder.path().join("set")).is_empty());
    }

    #[test]
    fn a_folder_that_vanished_is_not_made_again() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("out");
        let (lock, _) = take(&folder, |_| ()).unwrap();
        fs::remove_file(folder.join(LOCK)).unwrap();
        let error = lock.claim().check().unwrap_err().to_string();
        assert!(error.contains("its file lock is gone"), "{error}");
        fs::remove_dir(&folder).unwrap();
        std::thread::sleep(5 * QUICK.beat);
        assert!(lock.claim().replace("file", b"").is_err());
        drop(lock);
        assert!(names(top.path()).is_empty());
    }

    #[test]
    fn what_dead_runs_left_aside_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let others = ["a.tmp", "b.0123.tmp", "c.0123456789abcdef", "log.h5"];
        for name in
            others.iter().chain(&["lock.0123456789abcdef.tmp", "log.h5.fedcba9876543210.tmp"])
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let (_lock, _) = take(folder.path(), |_| ()).unwrap();
        assert_eq!(names(folder.path()), [&others[..3], &[LOCK, "log.h5"]].concat());
    }
}
