//! Messages of any length arrive over MPI as they were sent, in one piece or in many.

#[path = "../process/mod.rs"]
mod process;

use process::{finish, on_mpi, relaunch, role};
use sobaya::comm::mpi::MpiComm;
use sobaya::comm::{Comm, Messages, Peer, Work};

/// Size of a piece: a thousandth of what the program uses, give or take.
const PIECE: usize = 1024;
/// Below, at and above a piece; above 32 KiB a broadcast goes down a chain of ranks.
const LENGTHS: [usize; 10] = [0, 1, 1023, 1024, 1025, 5000, 32_768, 32_769, 40_000, 100_000];
const RANKS: [usize; 4] = [1, 2, 3, 5];

/// A message that differs from the others in every byte's place.
fn message(rank: usize, round: usize, length: usize) -> Vec<u8> {
    let byte = |at: usize| at.wrapping_mul(2_654_435_761) >> 13;
    (0..length).map(|at| (byte(at) + 31 * rank + 7 * round) as u8).collect()
}

/// The test on each number of ranks, with a part for each rank.
fn on_ranks(test: &str, body: impl FnOnce(MpiComm)) {
    if role().is_some() {
        on_mpi(|comm| body(comm.with_piece(PIECE)));
    }
    for ranks in RANKS {
        finish(relaunch(test, "rank", ranks)).well();
    }
}

#[test]
fn gathers_bring_every_length_in_rank_order() {
    on_ranks("gathers_bring_every_length_in_rank_order", |mut comm| {
        let (rank, ranks) = (comm.rank(), comm.ranks());
        let mut inbox = Messages::default();
        // Equal lengths, then different ones, back and forth through one inbox.
        for round in 0..4 * LENGTHS.len() {
            let step = round / LENGTHS.len();
            let length = |rank: usize| LENGTHS[(round + step * rank) % LENGTHS.len()];
            let mine = message(rank, round, length(rank));
            let cost = comm.gather(&mine, &mut inbox).expect("a gather");
            // The root's own message is not handed over.
            let handed_over = if rank == 0 { 0 } else { mine.len() as u64 };
            assert_eq!(cost.bytes, handed_over, "rank {rank}, round {round}");
            if rank == 0 {
                assert_eq!(inbox.messages().count(), ranks);
                for (from, got) in inbox.messages().enumerate() {
                    let sent = message(from, round, length(from));
                    assert!(got == sent, "{ranks} ranks, round {round}, from {from}");
                }
            } else {
                assert_eq!(inbox.messages().count(), 0, "left alone");
            }
        }
    });
}

#[test]
fn broadcasts_bring_every_length_to_all() {
    on_ranks("broadcasts_bring_every_length_to_all", |mut comm| {
        let (rank, ranks) = (comm.rank(), comm.ranks());
        // What is there before is overwritten, longer or shorter.
        let mut buffer = message(rank, 0, 200);
        for round in 0..2 * LENGTHS.len() {
            let length = LENGTHS[round % LENGTHS.len()];
            let sent = message(0, round, length);
            if rank == 0 {
                buffer.clone_from(&sent);
            }
            let cost = comm.broadcast(&mut buffer).expect("a broadcast");
            assert!(buffer == sent, "{ranks} ranks, rank {rank}, length {length}");
            let last = rank + 1 == ranks;
            let hands_over = !last && (rank == 0 || length > 32 << 10);
            assert_eq!(cost.bytes, if hands_over { length as u64 } else { 0 }, "length {length}");
        }
    });
}

#[test]
fn collectives_alternate_without_mixing() {
    on_ranks("collectives_alternate_without_mixing", |mut comm| {
        let rank = comm.rank();
        let mut inbox = Messages::default();
        for round in 0..200 {
            let length = LENGTHS[(3 * round + rank) % LENGTHS.len()];
            comm.gather(&message(rank, round, length), &mut inbox).expect("a gather");
            // All that came goes back to all, and each finds its own.
            let mut all: Vec<u8> = inbox.messages().flatten().copied().collect();
            comm.broadcast(&mut all).expect("a broadcast");
            let before = |r: usize| LENGTHS[(3 * round + r) % LENGTHS.len()];
            let start: usize = (0..rank).map(before).sum();
            assert!(all[start..start + length] == message(rank, round, length), "round {round}");
        }
    });
}

#[test]
fn exchanges_bring_every_length_to_its_rank() {
    on_ranks("exchanges_bring_every_length_to_its_rank", |mut comm| {
        let (rank, ranks) = (comm.rank(), comm.ranks());
        let (mut outgoing, mut incoming) = (Messages::default(), Messages::default());
        for round in 0..3 * LENGTHS.len() {
            let length = |from: usize, to: usize| LENGTHS[(round + 3 * from + to) % LENGTHS.len()];
            outgoing.clear();
            for to in 0..ranks {
                let sent = message(rank, round + to, length(rank, to));
                outgoing.push(|bytes| bytes.extend_from_slice(&sent));
            }
            let lengths: Vec<usize> = (0..ranks).map(|from| length(from, rank)).collect();
            let cost = comm.exchange(&outgoing, &lengths, &mut incoming).expect("an exchange");
            let others = (0..ranks).filter(|&to| to != rank).map(|to| length(rank, to));
            assert_eq!(cost.bytes, others.sum::<usize>() as u64, "rank {rank}, round {round}");
            assert_eq!(incoming.messages().count(), ranks);
            for (from, got) in incoming.messages().enumerate() {
                let sent = message(from, round + rank, length(from, rank));
                assert!(got == sent, "{ranks} ranks, round {round}, from {from} to {rank}");
            }
        }
    });
}

/// On a one-way ring, and between neighbours both ways: some ranks have nothing to say to each other.
#[test]
fn neighbours_hear_each_other_alone() {
    on_ranks("neighbours_hear_each_other_alone", |mut comm| {
        let (rank, ranks) = (comm.rank(), comm.ranks());
        let (mut outgoing, mut incoming) = (Messages::default(), Messages::default());
        for round in 0..3 * LENGTHS.len() {
            let length = |from: usize, to: usize| LENGTHS[(round + 3 * from + to) % LENGTHS.len()];
            let (next, previous) = ((rank + 1) % ranks, (rank + ranks - 1) % ranks);
            let others = |all: &[usize]| -> Vec<usize> {
                all.iter().copied().filter(|&other| other != rank).collect()
            };
            let (to, from) = match round % 2 {
                0 => (others(&[next]), others(&[previous])),
                _ if ranks == 2 => (others(&[next]), others(&[next])),
                _ => (others(&[next, previous]), others(&[previous, next])),
            };
            outgoing.clear();
            for &to in &to {
                let sent = message(rank, round + to, length(rank, to));
                outgoing.push(|bytes| bytes.extend_from_slice(&sent));
            }
            // Shorter than it might be, or not.
            let longest = |from, to| length(from, to) * (1 + round % 3) + round % 2;
            let peer = |from, to, rank| Peer { rank, longest: longest(from, to) };
            let receivers: Vec<Peer> = to.iter().map(|&to| peer(rank, to, to)).collect();
            let senders: Vec<Peer> = from.iter().map(|&from| peer(from, rank, from)).collect();
            let mut worked = 0;
            let mut work = || {
                std::thread::sleep(std::time::Duration::from_millis(round as u64 % 4));
                worked += 1;
            };
            let work = (round % 5 != 0).then_some(&mut work as Work<'_>);
            let times = usize::from(work.is_some());
            let cost = comm.neighbours(&receivers, &outgoing, &senders, &mut incoming, work);
            let cost = cost.expect("neighbours");
            assert_eq!(worked, times, "rank {rank}, round {round}");
            let sent: usize = to.iter().map(|&to| length(rank, to)).sum();
            assert_eq!(cost.bytes, sent as u64, "rank {rank}, round {round}");
            assert_eq!(incoming.messages().count(), from.len());
            for (&from, got) in from.iter().zip(incoming.messages()) {
                let sent = message(from, round + rank, length(from, rank));
                assert!(got == sent, "{ranks} ranks, round {round}, from {from} to {rank}");
            }
        }
    });
}
