//! Taking the lock: creating it, or taking it over from a run that is dead.
//!
//! A take-over renames the taker's own file over the dead lock. Of several takers one remains: after
//! its rename it waits, removes the temporary files of all others, so that none that has judged the same lock
//! can rename any more, and only then looks whose lock is there.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::OutputError;
use super::claim::{Leftovers, remove_leftovers, temporary_name};
use super::files::sync_parent;
use super::holder::{Holder, LOCK, Standing, read_lock};
use super::lock::Pace;

/// One that wants the lock.
pub struct Taker<'a> {
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
    /// A taker that says who it is.
    pub fn new(me: &'a Holder, folder: &'a Path, pace: &'a Pace) -> Self {
        let lock = folder.join(LOCK);
        let aside = folder.join(temporary_name(Some(LOCK.as_ref()), me.nonce()));
        Self { me, folder, pace, lock, aside }
    }

    /// The open lock, and words about the dead run that it was taken from.
    pub fn take(&self) -> Result<(File, Option<String>), OutputError> {
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
            // One that was quicker has removed the file, or a server was asked twice: see whose the lock is.
            Err(e) if e.kind() == ErrorKind::NotFound => (),
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::*;
    use crate::output::Lock;

    const ROUNDS: usize = 50;
    /// Names the folder of locks in a process that is to take some.
    const ROLE: &str = "SOBAYA_TEST_TAKES_LOCKS";
    const TEST: &str = "output::taker::tests::of_two_processes_one_takes_it";

    const QUICK: Pace = Pace {
        beat: Duration::from_millis(20),
        look: Duration::from_millis(10),
        silence: Duration::from_secs(10),
        settle: Duration::from_millis(10),
    };

    /// Leaves the lock of an earlier start of this job.
    fn leave_dead(folder: &Path) {
        let mut dead = Holder::here().unwrap();
        dead.boot_id = "another machine".into();
        (dead.job, dead.restart_count) = (Some("7".into()), 0);
        fs::write(folder.join(LOCK), dead.to_text()).unwrap();
    }

    #[test]
    fn of_many_threads_one_takes_it() {
        for round in 0..ROUNDS {
            let folder = tempfile::tempdir().unwrap();
            if round % 2 == 0 {
                leave_dead(folder.path());
            }
            let start = std::sync::Barrier::new(4);
            let taken: Vec<_> = std::thread::scope(|scope| {
                let one = || {
                    let mut me = Holder::here().unwrap();
                    (me.job, me.restart_count) = (Some("7".into()), 1);
                    start.wait();
                    Lock::take_as(me, folder.path(), &QUICK)
                };
                let takers: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                takers.into_iter().map(|taker| taker.join().unwrap()).collect()
            });
            let (held, refused): (Vec<_>, Vec<_>) = taken.into_iter().partition(Result::is_ok);
            assert_eq!(held.len(), 1, "round {round}");
            for (lock, notice) in held.iter().flatten() {
                lock.claim().check().unwrap();
                assert_eq!(notice.is_some(), round % 2 == 0);
            }
            for error in refused.into_iter().filter_map(Result::err) {
                assert!(matches!(error, OutputError::Locked { .. }), "{error}");
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    /// A process that takes the folders that it reads and says what became of each; it holds one until it reads
    /// the next.
    fn take_folders() {
        let mut held = None;
        for folder in std::io::stdin().lines() {
            drop(held.take());
            let me = Holder::here().unwrap();
            let taken = Lock::take_as(me, Path::new(&folder.unwrap()), &QUICK);
            match taken {
                Ok(lock) => {
                    println!("> taken");
                    held = Some(lock);
                }
                Err(error) => println!("> {error}"),
            }
        }
    }

    struct Process(Child, BufReader<ChildStdout>);

    impl Process {
        fn start(launcher: &[&str]) -> Self {
            let program = std::env::current_exe().unwrap();
            let words = launcher.iter().map(std::ffi::OsStr::new).chain([program.as_ref()]);
            let words: Vec<_> = words.collect();
            let mut child = Command::new(words[0])
                .args(&words[1..])
                .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
                .envs([(ROLE, "1"), ("SLURM_JOB_ID", "7"), ("SLURM_RESTART_COUNT", "1")])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            Self(child, out)
        }

        fn tell(&mut self, folder: &Path) {
            let line = format!("{}\n", folder.display());
            self.0.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        }

        fn answer(&mut self) -> String {
            let mut line = String::new();
            while self.1.read_line(&mut line).unwrap() > 0 {
                // The test harness has lines of its own, and does not end one of them.
                if let Some((_, answer)) = line.split_once("> ") {
                    return answer.trim().to_owned();
                }
                line.clear();
            }
            panic!("a process that takes locks has ended");
        }
    }

    fn takes_turns(launcher: &[&str]) {
        let mut processes = [Process::start(launcher), Process::start(launcher)];
        for round in 0..ROUNDS {
            let folder = tempfile::tempdir().unwrap();
            if round % 2 == 0 {
                leave_dead(folder.path());
            }
            processes.iter_mut().for_each(|process| process.tell(folder.path()));
            let mut answers = processes.each_mut().map(Process::answer);
            answers.sort_by_key(|answer| answer != "taken");
            assert!(answers[0] == "taken" && answers[1].contains("is in use by"), "{answers:?}");
        }
        for mut process in processes {
            drop(process.0.stdin.take());
            process.0.wait().unwrap();
        }
    }

    #[test]
    fn of_two_processes_one_takes_it() {
        if std::env::var_os(ROLE).is_some() {
            return take_folders();
        }
        takes_turns(&["env"]);
    }

    #[test]
    fn of_two_processes_that_do_not_see_each_other_one_takes_it() {
        let unshare = ["unshare", "--pid", "--fork"];
        let tried = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
        match tried {
            Ok(tried) if tried.status.success() => takes_turns(&unshare),
            other => println!("not tried: no process namespaces here: {other:?}"),
        }
    }
}
