//! The lock on an output folder: a file that is created exclusively and names its holder.
//!
//! File locks of the system fail on some cluster file systems, and end with the connection to the
//! server; this one holds until its owner is known to be dead: its process is gone from this machine, or
//! its Slurm job was started again, or its counter, which it raises every 5 s, has stood still for 60 s
//! of our own clock.
//!
//! A take-over renames the taker's own file over the dead lock. Of several takers one remains: after
//! its rename it waits, removes the temporary files of all others, so that none can rename any more, and
//! only then looks whose lock is there.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::OutputError;
use super::claim::{Claim, Leftovers, remove_leftovers, temporary_name};
use super::files::{create_folder, sync_parent};
use super::holder::{Holder, LOCK, Standing, counter_offset, counter_text, read_lock};

/// The times of the protocol.
struct Pace {
    /// Between two counts of the holder.
    beat: Duration,
    /// Between two looks of a taker that cannot tell whether the holder lives.
    look: Duration,
    /// So long the counter must stand still.
    silence: Duration,
    /// Between a take-over and the look whose it became.
    settle: Duration,
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

    fn take_as(
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

/// One that wants the lock.
struct Taker<'a> {
    me: &'a Holder,
    folder: &'a Path,
    pace: &'a Pace,
    lock: PathBuf,
    /// Where the own file is written first.
    aside: PathBuf,
}

/// A lock whose holder cannot be judged but by its counter.
struct Watch {
    seen: Vec<u8>,
    /// Time that it has stood still for.
    still: Duration,
    looked: Instant,
}

impl<'a> Taker<'a> {
    fn new(me: &'a Holder, folder: &'a Path, pace: &'a Pace) -> Self {
        let lock = folder.join(LOCK);
        let aside = folder.join(temporary_name(Some(LOCK.as_ref()), me.nonce()));
        Self { me, folder, pace, lock, aside }
    }

    /// The open lock, and words about the dead run that it was taken from.
    fn take(&self) -> Result<(File, Option<String>), OutputError> {
        let taken = self.create_or_take_over();
        let _ = fs::remove_file(&self.aside);
        taken
    }

    fn create_or_take_over(&self) -> Result<(File, Option<String>), OutputError> {
        let mut watch = None;
        loop {
            let Some(bytes) = read_lock(self.folder)? else {
                match self.create()? {
                    Some(file) => return Ok((file, None)),
                    // Another one was quicker.
                    None => continue,
                }
            };
            let holder = Holder::parse(&bytes);
            let why = match holder.as_ref().map_or(Standing::Unknown, |h| h.standing(self.me)) {
                Standing::Alive => return Err(self.locked(holder.as_ref())),
                Standing::Dead(why) => why,
                Standing::Unknown => match self.watch(&mut watch, &bytes, holder.as_ref())? {
                    true => format!("silent for {:.0?}", self.pace.silence),
                    false => continue,
                },
            };
            return match self.take_over(&bytes)? {
                Some(file) => {
                    let folder = self.folder.display();
                    let left = words(holder.as_ref());
                    Ok((
                        file,
                        Some(format!("{folder} was left locked by {left}, {why}: taken over")),
                    ))
                }
                None => Err(self.locked(self.holder().as_ref())),
            };
        }
    }

    /// Creates the lock with its whole content; `None` if there is one.
    fn create(&self) -> Result<Option<File>, OutputError> {
        let file = self.write_aside()?;
        match fs::hard_link(&self.aside, &self.lock) {
            Ok(()) => (),
            // A server that was asked twice because its answer was lost says so, too.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if !self.is_mine() {
                    return Ok(None);
                }
            }
            // The one that was quicker has removed it.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(_) => return self.create_without_links(),
        }
        sync_parent(&self.lock).map_err(OutputError::write(&self.lock))?;
        Ok(Some(file))
    }

    /// The same on file systems without hard links: a reader may see the file while it is still empty.
    fn create_without_links(&self) -> Result<Option<File>, OutputError> {
        let mut file = match File::create_new(&self.lock) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
            made => made.map_err(OutputError::write(&self.lock))?,
        };
        let written = file.write_all(self.me.to_text().as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| sync_parent(&self.lock)).map_err(|source| {
            let _ = fs::remove_file(&self.lock);
            OutputError::Write { path: self.lock.clone(), source }
        })?;
        Ok(Some(file))
    }

    /// Renames the own lock over the dead one with this content; `None` if it has become another's.
    fn take_over(&self, dead: &[u8]) -> Result<Option<File>, OutputError> {
        let file = self.write_aside()?;
        if read_lock(self.folder)?.as_deref() != Some(dead) {
            return Ok(None);
        }
        match fs::rename(&self.aside, &self.lock).and_then(|()| sync_parent(&self.lock)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(OutputError::write(&self.lock))?,
        }
        std::thread::sleep(self.pace.settle);
        remove_leftovers(self.folder, self.me.nonce(), Leftovers::Locks);
        Ok(self.is_mine().then_some(file))
    }

    fn write_aside(&self) -> Result<File, OutputError> {
        let write = || {
            let mut file = File::create(&self.aside)?;
            file.write_all(self.me.to_text().as_bytes())?;
            file.sync_all()?;
            Ok(file)
        };
        write().map_err(OutputError::write(&self.lock))
    }

    /// Looks once more at a lock, after a pause. True: it has stood still for long enough.
    fn watch(
        &self,
        watch: &mut Option<Watch>,
        bytes: &[u8],
        holder: Option<&Holder>,
    ) -> Result<bool, OutputError> {
        match watch {
            Some(watch) if watch.seen == bytes => {
                // Time that this process was suspended for does not count: the holder may have been, too.
                watch.still += watch.looked.elapsed().min(2 * self.pace.look);
                watch.looked = Instant::now();
                if watch.still >= self.pace.silence {
                    return Ok(true);
                }
            }
            // It counts, or somebody else holds the lock now.
            Some(watch) if Holder::parse(&watch.seen).is_some() => return Err(self.locked(holder)),
            _ => {
                if watch.is_none() {
                    self.say_waiting(holder);
                }
                let seen = bytes.to_owned();
                *watch = Some(Watch { seen, still: Duration::ZERO, looked: Instant::now() });
            }
        }
        std::thread::sleep(self.pace.look);
        Ok(false)
    }

    fn say_waiting(&self, holder: Option<&Holder>) {
        crate::system::say(&format!(
            "sobaya: note: {} is locked by {}, which cannot be seen from here: taking it over if there \
             is no sign of life for {:.0?}",
            self.folder.display(),
            words(holder),
            self.pace.silence
        ));
    }

    /// Who holds the folder now, if that can be read.
    fn holder(&self) -> Option<Holder> {
        read_lock(self.folder).ok().flatten().and_then(|bytes| Holder::parse(&bytes))
    }

    fn is_mine(&self) -> bool {
        self.holder().is_some_and(|holder| holder.has_nonce(self.me.nonce()))
    }

    fn locked(&self, holder: Option<&Holder>) -> OutputError {
        OutputError::Locked { folder: self.folder.to_owned(), holder: words(holder) }
    }
}

fn words(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "a process that its lock does not name".into(), Holder::to_string)
}
