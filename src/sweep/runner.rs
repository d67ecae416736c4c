//! Runs the members that are not finished, so many at a time.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::{Child, Job, asked_to_stop};
use super::folder::{Failure, MemberFolder, State};
use super::lock::{LINGER, Lock, Sharing};
use super::{Member, Sweep, SweepError};
use crate::system::say;

/// Pause between two looks at the children.
const PAUSE: Duration = Duration::from_millis(5);
/// Time that a child has to end when it is told to.
const GRACE: Duration = Duration::from_secs(10);

/// A member that runs.
struct Running<'a> {
    member: &'a Member,
    folder: MemberFolder,
    // Before the lock, which is given back when the child is gone.
    child: Child,
    _lock: Lock,
    start: Instant,
}

/// The members that were not finished, and how far they are.
pub struct Runner<'a> {
    sweep: &'a Sweep,
    /// Members at a time.
    limit: usize,
    waiting: std::vec::IntoIter<&'a Member>,
    running: Vec<Running<'a>>,
    total: usize,
    finished: usize,
    failures: Vec<Failure>,
    start: Instant,
}

impl<'a> Runner<'a> {
    /// To run these members of a sweep, `limit` at a time.
    pub fn new(sweep: &'a Sweep, members: Vec<&'a Member>, limit: usize) -> Self {
        Self {
            sweep,
            limit: limit.min(members.len()),
            total: members.len(),
            waiting: members.into_iter(),
            running: vec![],
            finished: 0,
            failures: vec![],
            start: Instant::now(),
        }
    }

    /// Runs them all. A member that fails is named and the others go on; at the end the first failure is
    /// the result. A signal ends the children, and with them this.
    pub fn run(mut self) -> Result<(), SweepError> {
        loop {
            if asked_to_stop() > 0 {
                return Err(self.stop());
            }
            if self.running.len() < self.limit
                && let Some(member) = self.waiting.next()
            {
                match self.start(member)? {
                    Some(running) => self.running.push(running),
                    None => self.finished += 1,
                }
                continue;
            }
            if self.running.is_empty() {
                break;
            }
            if !self.reap()? {
                std::thread::sleep(PAUSE);
            }
        }
        match self.failures.first() {
            None => Ok(()),
            Some(first) => Err(SweepError::Failed {
                failed: self.failures.len(),
                total: self.total,
                code: first.code,
            }),
        }
    }

    fn start(&self, member: &'a Member) -> Result<Option<Running<'a>>, SweepError> {
        let folder = MemberFolder::new(&self.sweep.folder, member);
        crate::log::create_folder(folder.path())?;
        let Some(lock) = Lock::take(&folder.lock(), Sharing::Alone, LINGER)? else {
            let holder = Lock::holder(&folder.lock());
            return Err(SweepError::Taken { folder: folder.path().to_owned(), holder });
        };
        // A task of a job array may have finished it meanwhile.
        if let State::Finished(_) = folder.state(member) {
            return Ok(None);
        }
        let config = folder.prepare(member)?;
        let job = self.job(member, &folder, config)?;
        let child = Child::start(&job, &lock).map_err(|source| SweepError::Launcher {
            program: job.words[0].to_string_lossy().into_owned(),
            source,
        })?;
        Ok(Some(Running { member, folder, child, _lock: lock, start: Instant::now() }))
    }

    fn job(
        &self,
        member: &Member,
        folder: &MemberFolder,
        config: PathBuf,
    ) -> Result<Job, SweepError> {
        let ranks = self.sweep.file.ranks(member.plan.workers);
        let mut words: Vec<OsString> =
            self.sweep.file.launcher(ranks).into_iter().map(Into::into).collect();
        words.push(super::program()?.into());
        words.extend(["run".into(), config.into(), "--out".into(), folder.path().into()]);
        if let Some(data) = &self.sweep.data {
            words.extend(["--data".into(), data.into()]);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let crowded = self.limit > 1 || ranks > cores;
        Ok(Job { words, folder: folder.path().to_owned(), crowded })
    }

    /// Takes those that have ended; whether there were any.
    fn reap(&mut self) -> Result<bool, SweepError> {
        let before = self.running.len();
        let mut at = 0;
        while at < self.running.len() {
            let running = &mut self.running[at];
            let folder = running.folder.path();
            let ended = running.child.ended();
            match ended.map_err(|source| SweepError::Io { path: folder.to_owned(), source })? {
                Some(code) => {
                    let ended = self.running.remove(at);
                    self.conclude(ended, code)?;
                }
                None => at += 1,
            }
        }
        Ok(self.running.len() < before)
    }

    fn conclude(&mut self, ended: Running<'_>, code: i32) -> Result<(), SweepError> {
        let Running { member, folder, .. } = &ended;
        if let State::Finished(_) = folder.state(member) {
            self.finished += 1;
            say(&self.progress(member, ended.start.elapsed()));
        } else if asked_to_stop() == 0 {
            let failure = folder.fail(code)?;
            say(&format!(
                "{}: member {} failed with exit code {}: {}\n{}\n    (all of it: {})",
                self.sweep.file.name,
                member.hash,
                failure.code,
                member.words(),
                indented(&failure.said),
                folder.stderr().display()
            ));
            self.failures.push(failure);
        }
        Ok(())
    }

    fn progress(&self, member: &Member, seconds: Duration) -> String {
        let done = self.finished + self.failures.len();
        let left = self.start.elapsed().div_f64(done as f64).mul_f64((self.total - done) as f64);
        format!(
            "{}: {done}/{} {} finished in {:.1} s, {} left: {}",
            self.sweep.file.name,
            self.total,
            member.hash,
            seconds.as_secs_f64(),
            humantime::format_duration(Duration::from_secs(left.as_secs())),
            member.words()
        )
    }

    /// Ends every child; a second signal hurries them.
    fn stop(mut self) -> SweepError {
        let start = Instant::now();
        let asked = asked_to_stop();
        self.running.iter().for_each(|running| running.child.signal(libc::SIGTERM));
        while !self.running.is_empty() {
            if let Err(error) = self.reap() {
                return error;
            }
            if start.elapsed() > GRACE || asked_to_stop() > asked {
                // Dropped, they are killed.
                self.running.clear();
            }
            std::thread::sleep(PAUSE);
        }
        SweepError::Stopped { finished: self.finished, total: self.total }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
