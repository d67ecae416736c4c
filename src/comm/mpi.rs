//! Ranks as MPI processes. The only file with MPI verbs, but for its `neighbours.rs`.
//!
//! Facts that shape it (Open MPI 4.1, MPICH 4.0):
//! - counts and displacements are C ints, so messages go in pieces of at most [`PIECE`] bytes;
//! - an empty `Vec`'s pointer equals Open MPI's `MPI_IN_PLACE`: buffers have a capacity of 1 or more;
//! - receive counts larger than what is sent are erroneous, so lengths travel before payloads;
//! - the default broadcast is slow for large messages on slow links: above [`CHAIN_FROM`] bytes the
//!   message goes down the ranks in segments, each passed on while the next one arrives;
//! - a panic or an early return on one rank leaves the others waiting: [`session`] ends the job.

mod neighbours;

use std::panic;
use std::time::Instant;

use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::point_to_point::{Destination, Source};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::Root;
use mpi::{Count, request};

use super::launcher::launched_processes;
use super::{Comm, CommError, Cost, Messages, Peer, Work};

/// The most bytes in one MPI call.
pub const PIECE: usize = 1 << 30;
/// Broadcasts of more bytes than this go down a chain of ranks.
const CHAIN_FROM: usize = 32 << 10;
/// Length of a segment on the chain.
const SEGMENT: usize = 16 << 10;
/// No bytes, at a real address.
const NOTHING: &[u8] = [0u8; 1].split_at(0).0;
/// Exit code of a panic.
const PANIC: i32 = 70;

/// MPI's world as a [`Comm`].
pub struct MpiComm {
    world: SimpleCommunicator,
    piece: usize,
    /// Lengths of the messages of a gather by rank; reused.
    lengths: Vec<u64>,
}

/// Version of the MPI library.
pub fn library_version() -> String {
    let version = mpi::environment::library_version().unwrap_or_else(|_| "unknown MPI".into());
    let first_part = version.trim_end_matches('\0').split([',', '\n']).next();
    first_part.unwrap_or_default().trim().to_owned()
}

/// Why MPI is not what the launcher promised.
#[derive(Debug, thiserror::Error)]
#[error(
    "the launcher started {expected} processes, but MPI sees only this one: sobaya was built for \
     another MPI ({library}); use the launcher of that MPI, or rebuild with the launcher's"
)]
pub struct WrongLauncher {
    expected: usize,
    library: String,
}

/// Runs `body` between MPI's start and end and exits the process with the code that it returns.
///
/// The one way out of an MPI program: a panic on any thread, and a code for which `agreed` is false
/// (the other ranks do not know of it), end the whole job at once through `MPI_Abort`.
pub fn session(body: impl FnOnce(Result<MpiComm, WrongLauncher>) -> Exit) -> ! {
    // Another thread may compute meanwhile; this one alone speaks MPI.
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("sobaya: MPI is already initialised in this process");
        std::process::exit(PANIC);
    };
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        abort(PANIC);
    }));
    let world = universe.world();
    let launched = launched_processes();
    let comm = match world.size() as usize {
        1 if launched > 1 => Err(WrongLauncher { expected: launched, library: library_version() }),
        ranks => Ok(MpiComm { world, piece: PIECE, lengths: vec![0; ranks] }),
    };
    let exit = body(comm);
    if !exit.agreed {
        abort(exit.code);
    }
    drop(universe);
    std::process::exit(exit.code)
}

/// How a rank leaves the session.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// Exit code of the process.
    pub code: i32,
    /// Whether every rank leaves with this code by itself.
    pub agreed: bool,
}

fn abort(code: i32) -> ! {
    // SAFETY: called between start and end of MPI. It may come from another thread than the one that
    // started MPI: whatever state MPI is in then, the process ends and nothing of it is used again.
    unsafe { mpi::ffi::MPI_Abort(mpi::ffi::RSMPI_COMM_WORLD, code) };
    std::process::exit(code)
}

/// Room for `length` bytes behind a pointer that is a real address even for 0.
fn resize(buffer: &mut Vec<u8>, length: usize) {
    buffer.reserve_exact(length.max(1).saturating_sub(buffer.len()));
    buffer.resize(length, 0);
}

impl MpiComm {
    /// The same with pieces of another size: tests send small messages in many pieces.
    pub fn with_piece(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    fn root(&self) -> mpi::topology::Process<'_> {
        self.world.process_at_rank(0)
    }

    /// How much of each message the Gatherv brings, so that all of them together fit a piece; what
    /// is longer follows from rank to root in pieces.
    fn share(&self) -> usize {
        (self.piece / self.ranks()).max(1)
    }

    /// The root's end of a gather: `lengths` by rank, its own 0 because it is not handed to MPI.
    fn collect(&self, mine: &[u8], lengths: &[u64], inbox: &mut Messages) -> Result<(), CommError> {
        let total = lengths.iter().try_fold(mine.len() as u64, |sum, &l| sum.checked_add(l));
        let total = total.and_then(|total| usize::try_from(total).ok());
        resize(&mut inbox.bytes, total.ok_or(CommError::TooLarge(u64::MAX))?);
        inbox.bytes[..mine.len()].copy_from_slice(mine);
        inbox.ends.clear();
        let mut end = mine.len();
        for &length in lengths {
            end += length as usize;
            inbox.ends.push(end);
        }
        let share = self.share();
        let counts: Vec<Count> =
            lengths.iter().map(|&length| (length as usize).min(share) as Count).collect();
        let displacements: Vec<Count> = (counts.iter())
            .scan(0, |at, &count| {
                let here = *at;
                *at += count;
                Some(here)
            })
            .collect();
        if lengths.iter().all(|&length| length as usize <= share) {
            let others = &mut inbox.bytes[mine.len()..];
            let mut to = PartitionMut::new(others, counts, displacements);
            self.root().gather_varcount_into_root(NOTHING, &mut to);
            return Ok(());
        }
        let mut heads = vec![];
        resize(&mut heads, counts.iter().map(|&count| count as usize).sum());
        let mut to = PartitionMut::new(&mut heads[..], &counts[..], &displacements[..]);
        self.root().gather_varcount_into_root(NOTHING, &mut to);
        for rank in 1..self.ranks() {
            let message = &mut inbox.bytes[inbox.ends[rank - 1]..inbox.ends[rank]];
            let (at, count) = (displacements[rank] as usize, counts[rank] as usize);
            let (head, rest) = message.split_at_mut(count);
            head.copy_from_slice(&heads[at..at + count]);
            for piece in rest.chunks_mut(self.piece) {
                self.world.process_at_rank(rank as i32).receive_into(piece);
            }
        }
        Ok(())
    }

    /// Another rank's end of a gather.
    fn contribute(&self, mine: &[u8]) {
        let (head, rest) = mine.split_at(mine.len().min(self.share()));
        self.root().gather_varcount_into(if head.is_empty() { NOTHING } else { head });
        for piece in rest.chunks(self.piece) {
            self.root().send(piece);
        }
    }

    /// Root to rank 1 to rank 2 ..., a segment being passed on while the next one arrives.
    fn chain(&self, message: &mut [u8]) {
        let rank = self.rank();
        let previous = rank.checked_sub(1).map(|r| self.world.process_at_rank(r as i32));
        let next = (rank + 1 < self.ranks()).then(|| self.world.process_at_rank(rank as i32 + 1));
        request::multiple_scope(message.len().div_ceil(SEGMENT), |scope, sends| {
            for segment in message.chunks_mut(SEGMENT) {
                if let Some(previous) = &previous {
                    previous.receive_into(segment);
                }
                let segment: &[u8] = segment;
                if let Some(next) = &next {
                    sends.add(next.immediate_send(scope, segment));
                }
            }
            sends.wait_all(&mut vec![]);
        });
    }
}

impl Comm for MpiComm {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn ranks(&self) -> usize {
        self.world.size() as usize
    }

    fn gather(&mut self, mine: &[u8], inbox: &mut Messages) -> Result<Cost, CommError> {
        let start = Instant::now();
        let length = if self.is_root() { 0 } else { mine.len() as u64 };
        if !self.is_root() {
            self.root().gather_into(&length);
            let wait = start.elapsed();
            self.contribute(mine);
            return Ok(Cost { bytes: length, wait, transfer: start.elapsed() - wait });
        }
        let mut lengths = std::mem::take(&mut self.lengths);
        self.root().gather_into_root(&length, &mut lengths[..]);
        let wait = start.elapsed();
        self.collect(mine, &lengths, inbox)?;
        self.lengths = lengths;
        Ok(Cost { bytes: 0, wait, transfer: start.elapsed() - wait })
    }

    fn broadcast(&mut self, message: &mut Vec<u8>) -> Result<Cost, CommError> {
        let start = Instant::now();
        let mut length = message.len() as u64;
        self.root().broadcast_into(&mut length);
        let wait = start.elapsed();
        let length = usize::try_from(length).map_err(|_| CommError::TooLarge(length))?;
        resize(message, length);
        let last = self.rank() + 1 == self.ranks();
        let bytes = if length > CHAIN_FROM {
            self.chain(message);
            if last { 0 } else { length }
        } else {
            self.root().broadcast_into(&mut message[..]);
            if self.is_root() && !last { length } else { 0 }
        };
        Ok(Cost { bytes: bytes as u64, wait, transfer: start.elapsed() - wait })
    }

    fn exchange(
        &mut self,
        outgoing: &Messages,
        lengths: &[usize],
        incoming: &mut Messages,
    ) -> Result<Cost, CommError> {
        let start = Instant::now();
        incoming.resize(lengths.iter().copied());
        let (rank, piece) = (self.rank(), self.piece);
        let pieces = |length: &usize| length.div_ceil(piece);
        let requests = lengths.iter().map(pieces).sum::<usize>()
            + outgoing.messages().map(|message| pieces(&message.len())).sum::<usize>();
        request::multiple_scope(requests, |scope, all| {
            for (from, message) in incoming.messages_mut().into_iter().enumerate() {
                if from == rank {
                    message.copy_from_slice(outgoing.of(rank));
                    continue;
                }
                for part in message.chunks_mut(piece) {
                    let process = self.world.process_at_rank(from as i32);
                    all.add(process.immediate_receive_into(scope, part));
                }
            }
            // Each rank begins with its successor: no receiver gets everything at once.
            for to in (rank + 1..self.ranks()).chain(0..rank) {
                for part in outgoing.of(to).chunks(piece) {
                    let process = self.world.process_at_rank(to as i32);
                    all.add(process.immediate_send(scope, part));
                }
            }
            all.wait_all(&mut vec![]);
        });
        let others = outgoing.messages().map(<[u8]>::len).sum::<usize>() - outgoing.of(rank).len();
        // Who waited for whom is not told apart here.
        Ok(Cost { bytes: others as u64, transfer: start.elapsed(), ..Cost::default() })
    }

    fn neighbours(
        &mut self,
        to: &[Peer],
        outgoing: &Messages,
        from: &[Peer],
        incoming: &mut Messages,
        work: Option<Work<'_>>,
    ) -> Result<Cost, CommError> {
        Ok(self.with_neighbours(to, outgoing, from, incoming, work))
    }
}
