//! What ranks want to happen after an iteration. Wishes travel in the envelopes of the iteration's own
//! messages: up to the root, and down to all ranks, which then hold the same ones after the same step.

/// Why a run stops before its last iteration. Of several reasons the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum StopReason {
    Interrupt,
    Terminate,
    User1,
    User2,
    TimeLimit,
    StopFile,
}

impl StopReason {
    /// In the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Interrupt,
        Self::Terminate,
        Self::User1,
        Self::User2,
        Self::TimeLimit,
        Self::StopFile,
    ];

    /// Words for logs and messages.
    pub fn words(self) -> &'static str {
        let all =
            ["signal INT", "signal TERM", "signal USR1", "signal USR2", "time limit", "STOP file"];
        all[self as usize]
    }
}

/// What is to happen after the iteration that is being made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A checkpoint.
    pub save: bool,
    /// The end of this part of the run, with a checkpoint.
    pub stop: Option<StopReason>,
}

/// Lowest bit of the reason.
const REASON: u32 = 1;

impl Wishes {
    /// How many bits [`Wishes::bits`] has.
    pub(super) const BITS: u32 = 4;

    /// What either of the two wants.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { save: self.save | other.save, stop: self.stop.max(other.stop) }
    }

    /// What is left of them when those have come true: what has only reached the root is still to go down.
    #[must_use]
    pub(super) fn without(self, done: Self) -> Self {
        Self { save: self.save && !done.save, stop: self.stop.filter(|_| done.stop.is_none()) }
    }

    pub(super) fn bits(self) -> u32 {
        let reason = self.stop.map_or(0, |reason| reason as u32 + 1);
        u32::from(self.save) | reason << REASON
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        let reason = (bits >> REASON).checked_sub(1);
        let stop = reason.and_then(|at| StopReason::ALL.get(at as usize)).copied();
        Self { save: bits & 1 != 0, stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_survive_their_bits() {
        for stop in std::iter::once(None).chain(StopReason::ALL.map(Some)) {
            for save in [false, true] {
                let wishes = Wishes { save, stop };
                assert!(wishes.bits() < 1 << Wishes::BITS);
                assert_eq!(Wishes::from_bits(wishes.bits()), wishes);
            }
        }
        let all = StopReason::ALL;
        assert!(all.iter().enumerate().all(|(at, &reason)| reason as usize == at));
    }

    #[test]
    fn together_they_want_what_either_wants() {
        let save = Wishes { save: true, stop: None };
        let stop = |reason| Wishes { save: false, stop: Some(reason) };
        let both = save.and(stop(StopReason::User1)).and(stop(StopReason::Interrupt));
        assert_eq!(both, Wishes { save: true, stop: Some(StopReason::User1) });
        assert_eq!(both.without(save), stop(StopReason::User1));
        assert_eq!(both.without(stop(StopReason::Interrupt)), save);
        assert_eq!(both.without(both), Wishes::default());
    }
}
