//! Runs the members that are due, so many at a time.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::{Child, Job};
use super::folder::{Failure, MemberFolder, State};
use super::lock::{LINGER, Lock, Sharing};
use super::signals::{Asked, Listener};
use super::{Member, Sweep, SweepError};
use crate::system::say;

/// Pause between two looks at the children.
const PAUSE: Duration = Duration::from_millis(5);
/// Exit code of a run that stopped before its end, and goes on from there when it is started again.
const STOPPED: i32 = 75;
/// Pause between two reminders of children that are to stop: a launcher may lose a signal.
const REMINDER: Duration = Duration::from_secs(1);

/// A member that runs.
struct Running<'a> {
    member: &'a Member,
    folder: MemberFolder,
    // Before the lock, which is given back when the child is gone.
    child: Child,
    _lock: Lock,
    start: Instant,
}

/// A member that is still to be started.
struct Waiting<'a> {
    member: &'a Member,
    /// Since when another process was seen to hold it.
    busy: Option<Instant>,
}

/// What came of an attempt to start a member.
enum Started<'a> {
    Runs(Running<'a>),
    /// Another process has finished it meanwhile.
    Finished,
    /// Another process has seen it diverge meanwhile.
    Diverged(Failure),
    /// Another process holds it.
    Busy,
}

/// The members that are due, and how far they are.
pub struct Runner<'a> {
    sweep: &'a Sweep,
    /// Members at a time.
    limit: usize,
    waiting: VecDeque<Waiting<'a>>,
    running: Vec<Running<'a>>,
    total: usize,
    finished: usize,
    /// Members whose run stopped before its end.
    stopped: usize,
    failures: Vec<Failure>,
    listener: Listener,
    /// Whether the children were told to stop.
    stopping: bool,
    /// Why none can be started.
    hopeless: Option<SweepError>,
    start: Instant,
}

impl<'a> Runner<'a> {
    /// To run these members of a sweep, `limit` at a time.
    pub fn new(
        sweep: &'a Sweep,
        members: Vec<&'a Member>,
        limit: usize,
        listener: Listener,
    ) -> Self {
        Self {
            sweep,
            limit: limit.min(members.len()),
            total: members.len(),
            waiting: members.into_iter().map(|member| Waiting { member, busy: None }).collect(),
            running: vec![],
            finished: 0,
            stopped: 0,
            failures: vec![],
            listener,
            stopping: false,
            hopeless: None,
            start: Instant::now(),
        }
    }

    /// Runs them all. A member that fails is named and the others go on; how they failed is the result. A
    /// signal stops the children, and with them this.
    pub fn run(mut self) -> Result<Vec<Failure>, SweepError> {
        while !(self.waiting.is_empty() && self.running.is_empty()) {
            if self.listener.asked() != Asked::Nothing {
                return Err(self.stop());
            }
            let started = self.running.len() < self.limit && self.start_next();
            if !self.reap() && !started {
                std::thread::sleep(PAUSE);
            }
        }
        match self.hopeless {
            Some(error) => Err(error),
            None if self.stopped > 0 && self.failures.iter().all(Failure::is_divergence) => {
                Err(SweepError::Stopped { finished: self.finished, total: self.total })
            }
            None => Ok(self.failures),
        }
    }

    /// Tries to start the next member, once; whether fewer are waiting then.
    fn start_next(&mut self) -> bool {
        let Some(next) = self.waiting.pop_front() else { return false };
        match self.start(next.member) {
            Ok(Started::Runs(running)) => self.running.push(running),
            Ok(Started::Finished) => self.finished += 1,
            Ok(Started::Diverged(failure)) => self.failures.push(failure),
            Ok(Started::Busy) => return self.postpone(next),
            // The others have the same launcher. What runs comes to its end.
            Err(error @ SweepError::Launcher { .. }) => {
                self.waiting.clear();
                self.hopeless = Some(error);
            }
            Err(error) => self.fail(next.member, Failure::from(&error), ""),
        }
        true
    }

    /// Another process holds the member: it is tried again after the others, until what a killed sweep has
    /// left must be gone. Whether that is so.
    fn postpone(&mut self, next: Waiting<'a>) -> bool {
        let since = next.busy.unwrap_or_else(Instant::now);
        if since.elapsed() < LINGER {
            self.waiting.push_back(Waiting { busy: Some(since), ..next });
            return false;
        }
        let folder = MemberFolder::new(&self.sweep.folder, next.member);
        let holder = Lock::holder(&folder.lock());
        let taken = SweepError::Taken { folder: folder.path().to_owned(), holder };
        self.fail(next.member, Failure::from(&taken), "");
        true
    }

    fn start(&self, member: &'a Member) -> Result<Started<'a>, SweepError> {
        let folder = MemberFolder::new(&self.sweep.folder, member);
        crate::output::create_folder(folder.path())?;
        let Some(lock) = Lock::take(&folder.lock(), Sharing::Alone, Duration::ZERO)? else {
            return Ok(Started::Busy);
        };
        // A task of a job array may have brought it to its end meanwhile.
        let state = folder.state_at_rest(member).ours(&folder)?;
        if !self.sweep.is_due(&folder, &state) {
            return Ok(match state {
                State::Diverged(failure) => Started::Diverged(failure),
                _ => Started::Finished,
            });
        }
        if !self.sweep.goes_on(&folder, &state) {
            folder.clear()?;
        }
        let config = folder.prepare(member, &self.sweep.origin)?;
        let child = Child::start(&self.job(member, &folder, config)?, &lock)?;
        Ok(Started::Runs(Running { member, folder, child, _lock: lock, start: Instant::now() }))
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
    fn reap(&mut self) -> bool {
        let before = self.running.len();
        let mut at = 0;
        while at < self.running.len() {
            match self.running[at].child.ended() {
                Ok(None) => at += 1,
                Ok(Some(code)) => {
                    let ended = self.running.remove(at);
                    self.conclude(&ended, code);
                }
                Err(source) => {
                    let lost = self.running.remove(at);
                    let path = lost.folder.path().to_owned();
                    self.fail(lost.member, Failure::from(&SweepError::Io { path, source }), "");
                }
            }
        }
        self.running.len() < before
    }

    fn conclude(&mut self, ended: &Running<'a>, code: i32) {
        let Running { member, folder, .. } = ended;
        if let State::Finished(_) = folder.state(member) {
            self.finished += 1;
            say(&self.progress(member, ended.start.elapsed()));
        } else if code == STOPPED || (self.stopping && folder.checkpoint().is_some()) {
            // A launcher that is reminded of a stop as it ends may end by the signal itself.
            self.stopped += 1;
            say(&format!(
                "{}: member {} stopped before its end: {}",
                self.sweep.file.name,
                member.hash,
                member.words()
            ));
        } else if !self.stopping {
            let failure = folder.failure(code);
            if let Err(error) = folder.keep(&failure) {
                say(&format!("{}: {error}", self.sweep.file.name));
            }
            self.fail(
                member,
                failure,
                &format!("\n    (all of it: {})", folder.stderr().display()),
            );
        }
    }

    fn fail(&mut self, member: &Member, failure: Failure, more: &str) {
        say(&format!(
            "{}: member {} failed with exit code {}: {}\n{}{more}",
            self.sweep.file.name,
            member.hash,
            failure.code,
            member.words(),
            indented(&failure.said),
        ));
        self.failures.push(failure);
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

    /// Has every child write a checkpoint and stop, and waits for it unless a signal insists.
    fn stop(mut self) -> SweepError {
        self.stopping = true;
        let mut told: Option<Instant> = None;
        while !self.running.is_empty() {
            if self.listener.asked() == Asked::End {
                // Dropped, they are killed.
                self.running.clear();
            }
            if told.is_none_or(|at| at.elapsed() >= REMINDER) {
                self.running.iter().for_each(|running| running.child.signal(libc::SIGUSR1));
                told = Some(Instant::now());
            }
            self.reap();
            std::thread::sleep(PAUSE);
        }
        SweepError::Stopped { finished: self.finished, total: self.total }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
