//! Messages between neighbours, and work while they travel.
//!
//! MPI need not have a thread of its own that moves messages on: a long one moves only while MPI is called. A
//! rank that has work meanwhile leaves it to another thread and calls MPI now and then.

use std::time::{Duration, Instant};
use std::{panic, thread};

use mpi::point_to_point::{Destination, Source, Status};
use mpi::request::{self, LocalScope, RequestCollection};
use mpi::topology::Communicator;
use mpi::traits::Equivalence;

use super::{MpiComm, NOTHING};
use crate::comm::{Cost, Messages, Peer, Work};

/// Shorter messages are left alone: over TCP Open MPI sends them at once (`btl_tcp_eager_limit`), elsewhere
/// they take less time than a thread costs.
const EAGER: usize = 64 << 10;
/// Between two calls of MPI by a rank that works meanwhile.
const PAUSE: Duration = Duration::from_micros(100);

impl MpiComm {
    /// As [`crate::comm::Comm::neighbours`].
    pub(super) fn with_neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Cost {
        let start = Instant::now();
        incoming.resize(from.iter().map(|peer| peer.longest));
        let mut lengths = vec![0; from.len()];
        let (mut worked, mut wait) = (Duration::ZERO, Duration::ZERO);
        let [receives, sends] = [from, to].map(|peers| self.pieces_of(peers));
        request::multiple_scope(receives, |scope, receives| {
            let owners = self.post_receives(scope, receives, from, incoming);
            request::multiple_scope(sends, |scope, sends| {
                self.post_sends(scope, sends, to, outgoing);
                let is_long = to.iter().chain(from).any(|peer| peer.longest > EAGER);
                let lengths = &mut lengths;
                let mut under_way = UnderWay { receives, sends, owners, lengths, is_long };
                worked = work.map_or(Duration::ZERO, |work| under_way.while_working(work));
                wait = under_way.wait();
            });
        });
        incoming.shorten(&lengths);
        let bytes = outgoing.bytes().len() as u64;
        // What comes after the first message is moving, not waiting.
        Cost { bytes, wait, transfer: start.elapsed() - wait - worked }
    }

    /// Pieces of the messages of these peers: as many as the longest ones would have, so that no length
    /// travels before them.
    fn pieces_of(&self, peers: &[Peer]) -> usize {
        peers.iter().map(|peer| peer.longest.div_ceil(self.piece)).sum()
    }

    /// Begins to receive all pieces; of each the place of its message.
    fn post_receives<'b>(
        &self,
        scope: &LocalScope<'b>,
        receives: &mut RequestCollection<'b, [u8]>,
        from: &[Peer],
        incoming: &'b mut Messages,
    ) -> Vec<usize> {
        let mut owners = vec![];
        for (at, (peer, room)) in from.iter().zip(incoming.messages_mut()).enumerate() {
            let process = self.world.process_at_rank(peer.rank as i32);
            for part in room.chunks_mut(self.piece) {
                receives.add(process.immediate_receive_into(scope, part));
                owners.push(at);
            }
        }
        owners
    }

    /// Begins to send all pieces; those behind a message's end are empty.
    fn post_sends<'b>(
        &self,
        scope: &LocalScope<'b>,
        sends: &mut RequestCollection<'b, [u8]>,
        to: &[Peer],
        outgoing: &'b Messages,
    ) {
        for (peer, message) in to.iter().zip(outgoing.messages()) {
            let process = self.world.process_at_rank(peer.rank as i32);
            let parts = message.chunks(self.piece).chain(std::iter::repeat(NOTHING));
            for part in parts.take(self.pieces_of(&[*peer])) {
                sends.add(process.immediate_send(scope, part));
            }
        }
    }
}

/// An exchange between neighbours that has begun.
struct UnderWay<'s, 'b> {
    receives: &'s mut RequestCollection<'b, [u8]>,
    sends: &'s mut RequestCollection<'b, [u8]>,
    /// Of each receive the place of its message.
    owners: Vec<usize>,
    /// Bytes of each message that have come.
    lengths: &'s mut [usize],
    /// Whether a message is longer than [`EAGER`].
    is_long: bool,
}

impl UnderWay<'_, '_> {
    fn has_come(&mut self, receive: usize, status: Status) {
        self.lengths[self.owners[receive]] += status.count(u8::equivalent_datatype()) as usize;
    }

    /// Does the work; the time that it took.
    fn while_working(&mut self, work: Work<'_>) -> Duration {
        let mut timed = || {
            let start = Instant::now();
            work();
            start.elapsed()
        };
        if !self.is_long {
            return timed();
        }
        thread::scope(|scope| {
            let this = thread::current();
            let worker = scope.spawn(move || {
                let time = timed();
                this.unpark();
                time
            });
            while !worker.is_finished() {
                self.test();
                thread::park_timeout(PAUSE);
            }
            worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Has MPI move on.
    fn test(&mut self) {
        // Asked about nothing, MPI has no answer.
        if self.receives.incomplete() > 0 {
            if let Some((at, status, _)) = self.receives.test_any() {
                self.has_come(at, status);
            }
        } else if self.sends.incomplete() > 0 {
            self.sends.test_any();
        }
    }

    /// Waits for all messages; the time until there was one.
    fn wait(&mut self) -> Duration {
        let start = Instant::now();
        if !self.owners.is_empty()
            && self.receives.incomplete() == self.owners.len()
            && let Some((at, status, _)) = self.receives.wait_any()
        {
            self.has_come(at, status);
        }
        let wait = start.elapsed();
        let mut done = vec![];
        self.receives.wait_all(&mut done);
        done.into_iter().for_each(|(at, status, _)| self.has_come(at, status));
        self.sends.wait_all(&mut vec![]);
        wait
    }
}
