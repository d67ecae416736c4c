//! A rank's message in one collective: an envelope, what is not traffic (its report, the losses of its
//! workers), packets.
//!
//! ```text
//! u32 iteration | u32 round and flag | u32 number of packets | u32 config-hash prefix
//! ```
//!
//! The lowest bit of the second word is the flag, the others number the round within the iteration. With
//! the flag ([`Envelope::failed`]) a text follows instead of packets.

use super::{NetError, RankReport};
use crate::net::PHASES;
use crate::problems::Losses;

/// Length of the envelope in bytes.
pub const ENVELOPE: usize = 16;
/// The flag in the second word; the round is above it.
const FAILED: u32 = 1;
/// Bytes of a report.
const REPORT: usize = 16 + 4 * PHASES;
/// Bytes of a worker's losses.
const LOSSES: usize = 16;

/// The fixed part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub iteration: u64,
    /// Of the iteration: its lower-level batch, which no two rounds of a variable share.
    pub round: u32,
    /// The sender stops with an error; its words follow.
    pub failed: bool,
    pub packets: u32,
    pub fingerprint: u32,
}

impl Envelope {
    pub fn write(self, out: &mut Vec<u8>) {
        // Iteration and round are checks, not counters: their low bits suffice.
        let second = self.round_bits() | if self.failed { FAILED } else { 0 };
        for word in [self.iteration as u32, second, self.packets, self.fingerprint] {
            out.extend(word.to_le_bytes());
        }
    }

    fn round_bits(self) -> u32 {
        self.round << 1
    }

    /// Takes the envelope off a message and checks that it is the awaited one. Returns whether the
    /// sender failed.
    pub fn open<'b>(self, bytes: &'b [u8], from: &str) -> Result<(bool, &'b [u8]), NetError> {
        let fail = |problem: String| NetError::Frame { iteration: self.iteration, problem };
        let Some((head, rest)) = bytes.split_first_chunk::<ENVELOPE>() else {
            return Err(fail(format!("{from} sent {} bytes, no envelope", bytes.len())));
        };
        let word = |i: usize| {
            u32::from_le_bytes([head[4 * i], head[4 * i + 1], head[4 * i + 2], head[4 * i + 3]])
        };
        let (iteration, second, packets) = (word(0), word(1), word(2));
        if word(3) != self.fingerprint {
            return Err(fail(format!("{from} runs another config")));
        }
        if second & FAILED != 0 {
            return Ok((true, rest));
        }
        if iteration != self.iteration as u32 {
            return Err(fail(format!("{from} is at iteration {iteration}")));
        }
        if second != self.round_bits() {
            return Err(fail(format!("{from} is at round {}, not {}", second >> 1, self.round)));
        }
        if packets != self.packets {
            return Err(fail(format!("{from} sent {packets} packets, expected {}", self.packets)));
        }
        Ok((false, rest))
    }
}

pub fn write_report(report: RankReport, out: &mut Vec<u8>) {
    out.extend(report.wire_bytes_up.to_le_bytes());
    out.extend(report.wire_bytes_down.to_le_bytes());
    report.seconds.iter().for_each(|s| out.extend(s.to_le_bytes()));
}

pub fn read_report(bytes: &[u8]) -> Option<(RankReport, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<REPORT>()?;
    let seconds = |i: usize| bytemuck::pod_read_unaligned(&head[16 + 4 * i..20 + 4 * i]);
    let report = RankReport {
        wire_bytes_up: bytemuck::pod_read_unaligned(&head[..8]),
        wire_bytes_down: bytemuck::pod_read_unaligned(&head[8..16]),
        seconds: std::array::from_fn(seconds),
    };
    Some((report, rest))
}

/// Where the packets of a message of this many workers begin.
pub fn packets_at(workers: usize) -> usize {
    ENVELOPE + REPORT + workers * LOSSES
}

/// Writes the losses of the worker at this place over those in a message.
pub fn put_losses(losses: Losses, place: usize, message: &mut [u8]) {
    let at = packets_at(place);
    message[at..at + 8].copy_from_slice(&losses.upper.to_le_bytes());
    message[at + 8..at + LOSSES].copy_from_slice(&losses.lower.to_le_bytes());
}

pub fn read_losses(bytes: &[u8]) -> Option<(Losses, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<LOSSES>()?;
    let upper = bytemuck::pod_read_unaligned(&head[..8]);
    let lower = bytemuck::pod_read_unaligned(&head[8..]);
    Some((Losses { upper, lower }, rest))
}

/// Whether a message of this rank's own says that a worker failed.
pub fn failed(message: &[u8]) -> bool {
    let second = message.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    second.is_some_and(|word| word & FAILED != 0)
}

/// What follows the envelope of a message whose envelope was checked.
pub fn behind_envelope(message: &[u8]) -> &[u8] {
    message.get(ENVELOPE..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_round_is_refused() {
        let awaited =
            Envelope { iteration: 3, round: 2, failed: false, packets: 1, fingerprint: 9 };
        let open = |sent: Envelope| {
            let mut bytes = vec![];
            sent.write(&mut bytes);
            bytes.push(7);
            awaited.open(&bytes, "rank 1").map(|(failed, rest)| (failed, rest.to_vec()))
        };
        assert!(matches!(open(awaited), Ok((false, rest)) if rest == [7]));
        // Whoever fails does so wherever it is.
        assert!(matches!(open(Envelope { round: 1, failed: true, ..awaited }), Ok((true, _))));
        for round in [0, 1, 3] {
            let error = open(Envelope { round, ..awaited }).expect_err("another round").to_string();
            assert!(error.contains(&format!("rank 1 is at round {round}, not 2")), "{error}");
        }
    }
}
