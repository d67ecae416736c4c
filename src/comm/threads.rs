//! Ranks as threads of one process: for tests, and with one rank for runs without MPI.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::{Comm, CommError, Cost, Messages, Peer, Work};

/// One rank's ends of the links with every rank, itself included.
pub struct ThreadComm {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

/// A communicator for each of `ranks` threads.
pub fn world(ranks: usize) -> Vec<ThreadComm> {
    let mut all: Vec<_> =
        (0..ranks).map(|rank| ThreadComm { rank, to: vec![], from: vec![] }).collect();
    for sender in 0..ranks {
        for receiver in 0..ranks {
            let (to, from) = channel();
            all[sender].to.push(to);
            all[receiver].from.push(from);
        }
    }
    all
}

impl ThreadComm {
    fn send(&self, rank: usize, message: &[u8]) -> Result<(), CommError> {
        self.to[rank].send(message.to_vec()).map_err(|_| CommError::Gone(rank))
    }

    fn receive(&self, rank: usize) -> Result<Vec<u8>, CommError> {
        self.from[rank].recv().map_err(|_| CommError::Gone(rank))
    }
}

impl Comm for ThreadComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError> {
        let start = Instant::now();
        if !self.is_root() {
            self.send(0, mine)?;
            let transfer = start.elapsed();
            return Ok(Cost { bytes: mine.len() as u64, transfer, ..Cost::default() });
        }
        inbox.clear();
        inbox.push(|bytes| bytes.extend_from_slice(mine));
        for rank in 1..self.ranks() {
            let message = self.receive(rank)?;
            inbox.push(|bytes| bytes.extend_from_slice(&message));
        }
        Ok(Cost { wait: start.elapsed(), ..Cost::default() })
    }

    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        let start = Instant::now();
        if !self.is_root() {
            *message = self.receive(0)?;
            return Ok(Cost { wait: start.elapsed(), ..Cost::default() });
        }
        for rank in 1..self.ranks() {
            self.send(rank, message)?;
        }
        let bytes = (message.len() * (self.ranks() - 1)) as u64;
        Ok(Cost { bytes, transfer: start.elapsed(), ..Cost::default() })
    }

    fn exchange(
        &mut self,
        outgoing: &Messages,
        lengths: &[usize],
        incoming: &mut Messages,
    ) -> Result<Cost, CommError> {
        let start = Instant::now();
        let mut bytes = 0;
        for (rank, message) in outgoing.messages().enumerate() {
            self.send(rank, message)?;
            bytes += if rank == self.rank { 0 } else { message.len() as u64 };
        }
        incoming.clear();
        for (rank, &expected) in lengths.iter().enumerate() {
            let message = self.receive(rank)?;
            if message.len() != expected {
                return Err(CommError::Length { rank, found: message.len(), expected });
            }
            incoming.push(|bytes| bytes.extend_from_slice(&message));
        }
        Ok(Cost { bytes, wait: start.elapsed(), ..Cost::default() })
    }

    fn neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Result<Cost, CommError> {
        let start = Instant::now();
        for (peer, message) in to.iter().zip(outgoing.messages()) {
            self.send(peer.rank, message)?;
        }
        let transfer = start.elapsed();
        work.into_iter().for_each(|work| work());
        let start = Instant::now();
        incoming.clear();
        for &Peer { rank, .. } in from {
            let message = self.receive(rank)?;
            incoming.push(|bytes| bytes.extend_from_slice(&message));
        }
        let bytes = outgoing.bytes().len() as u64;
        Ok(Cost { bytes, wait: start.elapsed(), transfer })
    }
}
