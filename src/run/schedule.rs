//! When the root wants a checkpoint or a stop.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::CheckpointPlan;
use crate::net::{StopReason, Wishes};

/// What a checkpoint takes until one has been made.
const FIRST_GUESS: Duration = Duration::from_millis(50);
/// Pause between two looks for the file STOP: on a shared file system looking is dear.
const LOOK: Duration = Duration::from_secs(20);

/// The root's schedule. Times are since the start of the program.
pub struct Schedule {
    plan: CheckpointPlan,
    max_time: Option<Duration>,
    stop_file: PathBuf,
    /// When this part began to iterate.
    start: Duration,
    saved: Duration,
    looked: Option<Duration>,
    /// What the last checkpoint took, and all of them.
    took: Duration,
    spent: Duration,
    count: u64,
    /// An iteration that was to have a checkpoint went by without one.
    overdue: bool,
    /// Because it would have been too dear.
    stretched: bool,
    said: bool,
    /// When the last step began, and the longest one.
    stepped: Option<Duration>,
    longest: Duration,
}

impl Schedule {
    /// Begins at `now`.
    pub fn new(
        plan: CheckpointPlan,
        max_time: Option<Duration>,
        stop_file: PathBuf,
        now: Duration,
    ) -> Self {
        Self {
            plan,
            max_time,
            stop_file,
            start: now,
            saved: now,
            looked: None,
            took: FIRST_GUESS,
            spent: Duration::ZERO,
            count: 0,
            overdue: false,
            stretched: false,
            said: false,
            stepped: None,
            longest: Duration::ZERO,
        }
    }

    /// What is wanted after the step that begins now and leads to iteration `next`.
    pub fn wishes(&mut self, now: Duration, next: u64) -> Wishes {
        if let Some(before) = self.stepped.replace(now) {
            self.longest = self.longest.max(now - before);
        }
        let stop = if self.is_stop_file_there(now) {
            Some(StopReason::StopFile)
        } else {
            self.is_time_up(now).then_some(StopReason::TimeLimit)
        };
        Wishes { save: self.is_save_due(now, next), stop }
    }

    /// A checkpoint was made.
    pub fn saved(&mut self, now: Duration, took: Duration) {
        (self.saved, self.took) = (now, took);
        self.spent += took;
        self.count += 1;
        self.overdue = false;
        // Its time is no step's.
        self.stepped = None;
    }

    /// How many checkpoints were made, and the seconds that they took.
    pub fn cost(&self) -> (u64, f64) {
        (self.count, self.spent.as_secs_f64())
    }

    /// Whether checkpoints come later than they were asked for; true once.
    pub fn is_stretched(&mut self) -> bool {
        self.stretched && !std::mem::replace(&mut self.said, true)
    }

    /// The file that asks for a stop has done its work; what the user is to know if it stays.
    pub fn remove_stop_file(&self) -> Option<String> {
        match std::fs::remove_file(&self.stop_file) {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(format!(
                "{} cannot be removed: {error}; remove it, or the run will stop again when it is resumed",
                self.stop_file.display()
            )),
        }
    }

    fn is_save_due(&mut self, now: Duration, next: u64) -> bool {
        let minutes = self.plan.every_minutes.get();
        let by_time = (now - self.saved).as_secs_f64() >= 60.0 * minutes;
        let by_count =
            self.plan.every_iterations.is_some_and(|n| next.is_multiple_of(n.get() as u64));
        self.overdue |= by_time || by_count;
        let budget = self.plan.cost.get() * (now - self.start).as_secs_f64();
        let affordable =
            self.plan.cost.get() == 1.0 || (self.spent + self.took).as_secs_f64() <= budget;
        self.stretched |= self.overdue && !affordable;
        self.overdue && affordable
    }

    /// Whether there is no time for another step and then a checkpoint, with as much again to spare.
    fn is_time_up(&self, now: Duration) -> bool {
        let needed = 2 * self.took + 2 * self.longest;
        self.max_time.is_some_and(|limit| now + needed >= limit)
    }

    fn is_stop_file_there(&mut self, now: Duration) -> bool {
        if self.looked.is_some_and(|looked| now - looked < LOOK) {
            return false;
        }
        self.looked = Some(now);
        self.stop_file.exists()
    }
}
