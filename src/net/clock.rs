//! Where a rank's time goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Number of phases.
pub const PHASES: usize = 5;

/// What a rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Directions of the hosted workers.
    Compute,
    /// Packing and memories.
    Compress,
    /// Moving payloads.
    Communicate,
    /// Waiting for other ranks.
    Wait,
    /// The server's decoding and step.
    Server,
}

impl Phase {
    /// In the order of their numbers.
    pub const ALL: [Phase; PHASES] =
        [Self::Compute, Self::Compress, Self::Communicate, Self::Wait, Self::Server];

    /// Name in logs and tables.
    pub fn name(self) -> &'static str {
        ["compute", "compress", "communicate", "wait", "server"][self as usize]
    }
}

/// A stopwatch whose laps are charged to phases.
#[derive(Clone, Debug)]
pub struct Clock {
    pulse: Arc<AtomicU64>,
    last: Instant,
    lap: [Duration; PHASES],
    total: [Duration; PHASES],
}

impl Default for Clock {
    fn default() -> Self {
        let zero = [Duration::ZERO; PHASES];
        Self { pulse: Arc::default(), last: Instant::now(), lap: zero, total: zero }
    }
}

impl Clock {
    /// A count that grows with every lap, for whoever watches whether there are any.
    pub fn pulse(&self) -> Arc<AtomicU64> {
        self.pulse.clone()
    }

    /// Charges the time since the last call to a phase.
    pub fn charge(&mut self, phase: Phase) {
        let last = self.last;
        self.begin();
        self.add(phase, self.last - last);
    }

    /// Drops the time since the last call: evaluations and logs are no phase.
    pub fn skip(&mut self) {
        self.begin();
    }

    /// Charges a collective, split into waiting and moving.
    pub fn charge_collective(&mut self, cost: crate::comm::Cost) {
        self.add(Phase::Wait, cost.wait);
        self.add(Phase::Communicate, cost.transfer);
        self.begin();
    }

    /// Seconds by phase since this was last called.
    pub fn take_lap(&mut self) -> [f32; PHASES] {
        let lap = self.lap.map(|time| time.as_secs_f32());
        self.lap = [Duration::ZERO; PHASES];
        lap
    }

    /// Seconds by phase since the start.
    pub fn totals(&self) -> [f64; PHASES] {
        self.total.map(|time| time.as_secs_f64())
    }

    fn begin(&mut self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        self.last = Instant::now();
    }

    fn add(&mut self, phase: Phase, time: Duration) {
        self.lap[phase as usize] += time;
        self.total[phase as usize] += time;
    }
}
