//! Ends a job that makes no progress: a rank that waits for one that is gone or stuck would wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The watchdog counts its own ticks.
const TICK: Duration = Duration::from_secs(1);
/// A tick that took longer: this process was suspended, or its machine was. That is no waiting.
const SUSPENDED: Duration = Duration::from_secs(5);
/// The lower a rank, the sooner it speaks: the first one ends the job, so that there is one message.
const STAGGER: u64 = 6;
/// No rank waits longer for lower ones than this many times the stagger.
const STAGGERED: usize = 15;

/// What is watched.
#[derive(Clone)]
pub struct Watched {
    /// Grows as long as there is progress.
    pub pulse: Arc<AtomicU64>,
    /// The iteration that is being made.
    pub iteration: Arc<AtomicU64>,
    /// This rank.
    pub rank: usize,
}

/// A watch that ends when this is dropped.
pub struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// Calls `bite` once if there is no progress for so many seconds.
    pub fn start(
        watched: Watched,
        seconds: u64,
        bite: impl FnOnce(&Watched, u64) + Send + 'static,
    ) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let dog = Self(over.clone());
        let limit = seconds + STAGGER * watched.rank.min(STAGGERED) as u64;
        let watch = move || {
            let mut silence = Silence { since: watched.pulse.load(Ordering::Relaxed), ticks: 0 };
            let mut last = Instant::now();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                let tick = last.elapsed();
                last = Instant::now();
                if silence.tick(watched.pulse.load(Ordering::Relaxed), tick) >= limit {
                    return bite(&watched, silence.ticks);
                }
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(watch)?;
        Ok(dog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says what is wrong and ends this process at once; its launcher then ends the others.
pub fn end_the_job(watched: &Watched, seconds: u64) {
    crate::system::say(&format!(
        "sobaya: rank {} on {}: no progress for {seconds} s in iteration {}: another rank or its machine is \
         stuck or gone, or a file system is; the last checkpoint holds, start the same command again; where \
         iterations or evaluations do take that long, raise the config key `watchdog_seconds`",
        watched.rank,
        crate::system::host(),
        watched.iteration.load(Ordering::Relaxed)
    ));
    crate::system::exit_at_once(70)
}

/// How long there has been no progress.
struct Silence {
    since: u64,
    ticks: u64,
}

impl Silence {
    fn tick(&mut self, pulse: u64, took: Duration) -> u64 {
        if pulse != self.since || took > SUSPENDED {
            *self = Self { since: pulse, ticks: 0 };
        } else {
            self.ticks += 1;
        }
        self.ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_suspension_are_no_silence() {
        let mut silence = Silence { since: 7, ticks: 0 };
        let second = Duration::from_secs(1);
        assert_eq!([(7, second); 3].map(|(pulse, tick)| silence.tick(pulse, tick)), [1, 2, 3]);
        assert_eq!(silence.tick(8, second), 0);
        assert_eq!(silence.tick(8, second), 1);
        assert_eq!(silence.tick(8, 60 * second), 0);
    }

    #[test]
    fn it_bites_once_there_is_no_progress() {
        let (told, bitten) = std::sync::mpsc::channel();
        let watched = Watched { pulse: Arc::default(), iteration: Arc::default(), rank: 0 };
        let start = Instant::now();
        let bite = move |_: &Watched, seconds| told.send(seconds).expect("the test waits");
        let dog = Watchdog::start(watched, 1, bite).expect("a thread");
        assert_eq!(bitten.recv(), Ok(1));
        assert!(start.elapsed() >= TICK);
        drop(dog);
    }
}
