//! What signals ask of a sweep.

use std::io;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// A signal that comes sooner after another is the same wish: it may be delivered several times.
const SAME_WISH: Duration = Duration::from_secs(2);

/// What was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Nothing.
    #[default]
    Nothing,
    /// The runs are to write a checkpoint and stop.
    Stop,
    /// They are to be gone at once.
    End,
}

/// Hears the signals to this process, which no longer end it.
pub struct Listener {
    signals: Signals,
    wish: Wish,
}

impl Listener {
    /// Hears INT (Ctrl-C), TERM, HUP, USR1 and USR2; those that are ignored, as HUP under nohup, stay so.
    pub fn new() -> io::Result<Self> {
        let all = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
        let signals = Signals::new(all.into_iter().filter(|&signal| !is_ignored(signal)))?;
        Ok(Self { signals, wish: Wish::default() })
    }

    /// What was asked for so far.
    pub fn asked(&mut self) -> Asked {
        let now = Instant::now();
        self.signals.pending().for_each(|signal| self.wish.hear(signal, now));
        self.wish.asked
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: an all-zero sigaction is valid, and the call does nothing but write to it.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action);
        action
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// What several signals ask for together.
#[derive(Default)]
struct Wish {
    asked: Asked,
    /// When the first signal came that, repeated, insists.
    since: Option<Instant>,
}

impl Wish {
    /// USR1 and USR2 ask for a stop, however often they come; so do the others, which insist on an end if they
    /// come again later.
    fn hear(&mut self, signal: libc::c_int, now: Instant) {
        self.asked = self.asked.max(Asked::Stop);
        if [SIGUSR1, SIGUSR2].contains(&signal) {
            return;
        }
        if now.duration_since(*self.since.get_or_insert(now)) >= SAME_WISH {
            self.asked = Asked::End;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thought_insists() {
        let start = Instant::now();
        let after = |signals: &[(libc::c_int, u64)]| {
            let mut wish = Wish::default();
            signals.iter().for_each(|&(signal, second)| {
                wish.hear(signal, start + Duration::from_secs(second));
            });
            wish.asked
        };
        assert_eq!(after(&[]), Asked::Nothing);
        assert_eq!(after(&[(SIGINT, 0), (SIGINT, 1), (SIGTERM, 1)]), Asked::Stop);
        assert_eq!(after(&[(SIGINT, 0), (SIGINT, 2)]), Asked::End);
        // Slurm's warning is followed by TERM at the limit.
        assert_eq!(after(&[(SIGUSR1, 0), (SIGUSR1, 10), (SIGTERM, 180)]), Asked::Stop);
        assert_eq!(after(&[(SIGUSR1, 0), (SIGTERM, 180), (SIGTERM, 182)]), Asked::End);
    }
}
