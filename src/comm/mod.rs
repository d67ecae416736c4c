//! Moves opaque bytes between ranks. Knows lengths and ranks; nothing of vectors.

mod agree;
mod launcher;
pub mod mpi;
pub mod threads;

use std::ops::Range;
use std::time::Duration;

pub use agree::{Failure, agree};
pub use launcher::launched_first;

/// Which rank hosts which worker: n workers in blocks on R <= n ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number of workers, n.
    pub workers: usize,
    /// Number of ranks, R.
    pub ranks: usize,
}

impl Placement {
    /// The workers of a rank. Blocks ascend with the rank, so rank order is worker order; the first
    /// ranks have one more where they cannot be equal: what rank 0 hosts need not travel.
    pub fn hosted(&self, rank: usize) -> Range<usize> {
        let start =
            |rank: usize| rank * (self.workers / self.ranks) + rank.min(self.workers % self.ranks);
        start(rank)..start(rank + 1)
    }
}

/// One end of a message between neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other rank.
    pub rank: usize,
    /// Bytes of the message at most; both ends say the same.
    pub longest: usize,
}

/// What a rank does meanwhile, once.
pub type Work<'w> = &'w mut (dyn FnMut() + Send);

/// What a collective cost the calling rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Bytes of the payload that this rank handed over to others.
    pub bytes: u64,
    /// Time until the others were there: the exchange of lengths.
    pub wait: Duration,
    /// Time for the payload.
    pub transfer: Duration,
}

/// A message could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum CommError {
    /// The other end of an in-process link was dropped.
    #[error("rank {0} is gone")]
    Gone(usize),
    /// The sum of all messages does not fit the address space.
    #[error("messages of {0} bytes in all cannot be gathered")]
    TooLarge(u64),
    /// A rank sent something else than was agreed.
    #[error("rank {rank} sent {found} bytes, expected {expected}")]
    Length {
        /// The sender.
        rank: usize,
        /// What it sent.
        found: usize,
        /// What the others expect.
        expected: usize,
    },
}

/// One message for or from each rank, in rank order, in a buffer that is reused.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// Drops all messages; the room stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends the next rank's message: what `write` appends to the bytes that it gets.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Room for messages of these lengths, to be written over.
    fn resize(&mut self, lengths: impl IntoIterator<Item = usize>) {
        self.ends.clear();
        let mut end = 0;
        for length in lengths {
            end += length;
            self.ends.push(end);
        }
        self.bytes.resize(end, 0);
    }

    /// Cuts each message to its length, which is no longer than it was.
    fn shorten(&mut self, lengths: &[usize]) {
        let (mut start, mut end) = (0, 0);
        for (message_end, length) in self.ends.iter_mut().zip(lengths) {
            self.bytes.copy_within(start..start + length, end);
            start = std::mem::replace(message_end, end + length);
            end = *message_end;
        }
        self.bytes.truncate(end);
    }

    /// The message of a rank.
    fn of(&self, rank: usize) -> &[u8] {
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] };
        &self.bytes[start..self.ends[rank]]
    }

    /// The messages in rank order, to be written over.
    fn messages_mut(&mut self) -> Vec<&mut [u8]> {
        let (mut rest, mut start) = (&mut self.bytes[..], 0);
        let mut all = Vec::with_capacity(self.ends.len());
        for &end in &self.ends {
            let (message, behind) = std::mem::take(&mut rest).split_at_mut(end - start);
            all.push(message);
            (rest, start) = (behind, end);
        }
        all
    }

    /// All messages, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The messages in rank order.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |start, &end| {
            let message = &self.bytes[*start..end];
            *start = end;
            Some(message)
        })
    }
}

/// Communication: four verbs that every rank calls in the same order. Rank 0 is the root.
pub trait Comm {
    /// This rank.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// Brings every rank's message to the root, into `inbox` (left alone elsewhere).
    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError>;

    /// Brings the root's message to every rank: read on the root, overwritten elsewhere.
    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError>;

    /// Sends message r of `outgoing` to rank r, and receives one of `lengths[r]` bytes from each rank
    /// r: everybody knows beforehand what comes. A rank's message to itself is handed over, too.
    fn exchange(
        &mut self,
        outgoing: &Messages,
        lengths: &[usize],
        incoming: &mut Messages,
    ) -> Result<Cost, CommError>;

    /// Sends message i of `outgoing` to `to[i]`, and receives one from each of `from`, in that order.
    /// Ranks that nobody names do nothing; whoever is named names the sender, or the receiver, in turn.
    /// No rank names itself.
    ///
    /// While the messages are under way, `work` is done, maybe by another thread. Its time is not in the
    /// cost.
    fn neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Result<Cost, CommError>;

    /// Whether this is rank 0.
    fn is_root(&self) -> bool {
        self.rank() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_workers_in_order() {
        for workers in 1..20 {
            for ranks in 1..=workers {
                let placement = Placement { workers, ranks };
                let all: Vec<usize> = (0..ranks).flat_map(|r| placement.hosted(r)).collect();
                assert_eq!(all, (0..workers).collect::<Vec<_>>());
                assert!((0..ranks).all(|r| !placement.hosted(r).is_empty()));
            }
        }
    }
}
