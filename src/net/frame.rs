//! A rank's message in one collective: an envelope, what is not traffic (its report, the losses of its
//! workers), packets.
//!
//! ```text
//! u32 iteration | u32 round, wishes and flag | u32 number of packets | u32 config-hash prefix
//! ```
//!
//! The lowest bit of the second word is the flag; above it are the sender's wishes ([`Wishes`]), and above
//! them the number of the round within the iteration. With the flag ([`Envelope::failed`]) a text follows
//! instead of packets.

use super::{NetError, RankReport, Wishes};
use crate::net::PHASES;
use crate::problems::Losses;

/// Length of the envelope in bytes.
pub const ENVELOPE: usize = 16;
/// The flag in the second word.
const FAILED: u32 = 1;
/// Where the wishes begin in it.
const WISHES: u32 = 1;
/// Where the round begins in it.
const ROUND: u32 = WISHES + Wishes::BITS;
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
    /// What the sender wants; that of an awaited envelope is of no account.
    pub wishes: Wishes,
    pub packets: u32,
    pub fingerprint: u32,
}

/// A message whose envelope is the awaited one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'b> {
    /// The sender stops; `rest` is its words.
    pub failed: bool,
    pub wishes: Wishes,
    /// What follows the envelope.
    pub rest: &'b [u8],
}

impl Envelope {
    pub fn write(self, out: &mut Vec<u8>) {
        // Iteration and round are checks, not counters: their low bits suffice.
        let second = self.round << ROUND | self.wishes.bits() << WISHES | u32::from(self.failed);
        for word in [self.iteration as u32, second, self.packets, self.fingerprint] {
            out.extend(word.to_le_bytes());
        }
    }

    /// Takes the envelope off a message and checks that it is the awaited one.
    pub fn open<'b>(self, bytes: &'b [u8], from: &str) -> Result<Opened<'b>, NetError> {
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
        let wishes = Wishes::from_bits(second >> WISHES & ((1 << Wishes::BITS) - 1));
        let opened = Opened { failed: second & FAILED != 0, wishes, rest };
        if opened.failed {
            return Ok(opened);
        }
        if iteration != self.iteration as u32 {
            return Err(fail(format!("{from} is at iteration {iteration}")));
        }
        let round = second >> ROUND;
        if round != self.round {
            return Err(fail(format!("{from} is at round {round}, not {}", self.round)));
        }
        if packets != self.packets {
            return Err(fail(format!("{from} sent {packets} packets, expected {}", self.packets)));
        }
        Ok(opened)
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
    use crate::net::StopReason;

    #[test]
    fn a_message_of_another_round_is_refused() {
        let awaited = Envelope {
            iteration: 3,
            round: 2,
            failed: false,
            wishes: Wishes::default(),
            packets: 1,
            fingerprint: 9,
        };
        let open = |sent: Envelope| {
            let mut bytes = vec![];
            sent.write(&mut bytes);
            bytes.push(7);
            let opened = awaited.open(&bytes, "rank 1");
            opened.map(|opened| (opened.failed, opened.wishes, opened.rest.to_vec()))
        };
        let wishes = Wishes { save: true, stop: Some(StopReason::StopFile) };
        for wishes in [Wishes::default(), wishes] {
            let opened = open(Envelope { wishes, ..awaited }).expect("the awaited one");
            assert_eq!(opened, (false, wishes, vec![7]));
        }
        // Whoever fails does so wherever it is.
        assert!(matches!(open(Envelope { round: 1, failed: true, ..awaited }), Ok((true, ..))));
        for round in [0, 1, 3] {
            let error = open(Envelope { round, ..awaited }).expect_err("another round").to_string();
            assert!(error.contains(&format!("rank 1 is at round {round}, not 2")), "{error}");
        }
    }
}
