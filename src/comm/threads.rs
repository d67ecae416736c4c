//! Ranks as threads of one process: for tests, and with one rank for runs without MPI.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::{Comm, CommError, Cost, Inbox};

/// One rank's ends of the links with the root.
pub struct ThreadComm {
    rank: usize,
    ranks: usize,
    /// To the root; at the root to every other rank.
    to: Vec<Sender<Vec<u8>>>,
    /// From the root; at the root from every other rank.
    from: Vec<Receiver<Vec<u8>>>,
}

/// A communicator for each of `ranks` threads.
pub fn world(ranks: usize) -> Vec<ThreadComm> {
    let mut root = ThreadComm { rank: 0, ranks, to: vec![], from: vec![] };
    let mut others = vec![];
    for rank in 1..ranks {
        let (to_rank, from_root) = channel();
        let (to_root, from_rank) = channel();
        root.to.push(to_rank);
        root.from.push(from_rank);
        others.push(ThreadComm { rank, ranks, to: vec![to_root], from: vec![from_root] });
    }
    let mut all = vec![root];
    all.append(&mut others);
    all
}

impl Comm for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn gather(&mut self, mine: &[u8], inbox: &mut Inbox) -> Result<Cost, CommError> {
        let start = Instant::now();
        if !self.is_root() {
            self.to[0].send(mine.to_vec()).map_err(|_| CommError::Gone(0))?;
            let transfer = start.elapsed();
            return Ok(Cost { bytes: mine.len() as u64, transfer, ..Cost::default() });
        }
        inbox.bytes.clear();
        inbox.ends.clear();
        inbox.bytes.extend_from_slice(mine);
        inbox.ends.push(inbox.bytes.len());
        for (i, from) in self.from.iter().enumerate() {
            let message = from.recv().map_err(|_| CommError::Gone(i + 1))?;
            inbox.bytes.extend_from_slice(&message);
            inbox.ends.push(inbox.bytes.len());
        }
        Ok(Cost { wait: start.elapsed(), ..Cost::default() })
    }

    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        let start = Instant::now();
        if !self.is_root() {
            *message = self.from[0].recv().map_err(|_| CommError::Gone(0))?;
            return Ok(Cost { wait: start.elapsed(), ..Cost::default() });
        }
        for (i, to) in self.to.iter().enumerate() {
            to.send(message.clone()).map_err(|_| CommError::Gone(i + 1))?;
        }
        let bytes = (message.len() * self.to.len()) as u64;
        Ok(Cost { bytes, transfer: start.elapsed(), ..Cost::default() })
    }
}
