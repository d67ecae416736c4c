//! A rank's message in one collective: an envelope, what is not traffic (its report, the losses of its
//! workers), packets.
//!
//! ```text
//! u32 iteration | u32 flags | u32 number of packets | u32 config-hash prefix
//! ```
//!
//! With the flag [`FAILED`] a text follows instead of packets.

use super::{NetError, RankReport};
use crate::net::PHASES;
use crate::problems::Losses;

/// Length of the envelope in bytes.
pub const ENVELOPE: usize = 16;
/// The sender stops with an error; its words follow.
pub const FAILED: u32 = 1;
/// Bytes of a report.
const REPORT: usize = 16 + 4 * PHASES;
/// Bytes of a worker's losses.
const LOSSES: usize = 16;

/// The fixed part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub iteration: u64,
    pub flags: u32,
    pub packets: u32,
    pub fingerprint: u32,
}

impl Envelope {
    pub fn write(self, out: &mut Vec<u8>) {
        // The iteration is a check, not a counter: its low half suffices.
        for word in [self.iteration as u32, self.flags, self.packets, self.fingerprint] {
            out.extend(word.to_le_bytes());
        }
    }

    /// Takes the envelope off a message and checks that it is the awaited one. Returns its flags.
    pub fn open<'b>(self, bytes: &'b [u8], from: &str) -> Result<(u32, &'b [u8]), NetError> {
        let fail = |problem: String| NetError::Frame { iteration: self.iteration, problem };
        let Some((head, rest)) = bytes.split_first_chunk::<ENVELOPE>() else {
            return Err(fail(format!("{from} sent {} bytes, no envelope", bytes.len())));
        };
        let word = |i: usize| {
            u32::from_le_bytes([head[4 * i], head[4 * i + 1], head[4 * i + 2], head[4 * i + 3]])
        };
        let (iteration, flags, packets) = (word(0), word(1), word(2));
        if word(3) != self.fingerprint {
            return Err(fail(format!("{from} runs another config")));
        }
        if flags & FAILED != 0 {
            return Ok((flags, rest));
        }
        if iteration != self.iteration as u32 {
            return Err(fail(format!("{from} is at iteration {iteration}")));
        }
        if packets != self.packets {
            return Err(fail(format!("{from} sent {packets} packets, expected {}", self.packets)));
        }
        Ok((flags, rest))
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
    let flags = message.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    flags.is_some_and(|flags| flags & FAILED != 0)
}

/// What follows the envelope of a message whose envelope was checked.
pub fn behind_envelope(message: &[u8]) -> &[u8] {
    message.get(ENVELOPE..).unwrap_or_default()
}
