//! Signals that ask for a stop with a checkpoint.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::net::StopReason;

/// Signals and what they ask for, in ascending order of what counts more.
const HEEDED: [(i32, StopReason); 4] = [
    (SIGINT, StopReason::Interrupt),
    (SIGTERM, StopReason::Terminate),
    (SIGUSR1, StopReason::User1),
    (SIGUSR2, StopReason::User2),
];
/// A launcher may deliver one signal twice; a person who sends a second one waits longer.
const TWICE: Duration = Duration::from_secs(2);

/// Number of the signals of [`HEEDED`] up to the one that counts most of those heard; 0 for none.
static HEARD: AtomicU8 = AtomicU8::new(0);

/// Heeds INT, TERM, USR1 and USR2 from now on, but for those that this process was started to ignore. A
/// second INT or TERM two or more seconds after the first ends the process at once.
pub fn heed() -> io::Result<()> {
    let ignored = ignored();
    let signals = HEEDED.iter().map(|&(signal, _)| signal);
    let mut signals = Signals::new(signals.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    let hear = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            let place = HEEDED.iter().position(|&(heeded, _)| heeded == signal).unwrap_or_default();
            HEARD.fetch_max(place as u8 + 1, Ordering::Relaxed);
            if [SIGINT, SIGTERM].contains(&signal)
                && first.get_or_insert_with(Instant::now).elapsed() >= TWICE
            {
                // There is nothing left to do where even this fails.
                let _ = emulate_default_handler(signal);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(hear).map(|_| ())
}

/// What the signals so far ask for.
pub fn heard() -> Option<StopReason> {
    let place = usize::from(HEARD.load(Ordering::Relaxed)).checked_sub(1)?;
    HEEDED.get(place).map(|&(_, reason)| reason)
}

/// Signals that this process was started to ignore, a bit for each, as by nohup or a shell's `&`.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
