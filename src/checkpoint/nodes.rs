//! Which ranks share a node: the first rank of each writes for all of them.

use std::time::{Duration, Instant};

use super::CheckpointError;
use crate::comm::{Comm, CommError, Messages};
use crate::output::Claim;

/// A shared file system shows a new file on every node within this time.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until this node sees that the folder is claimed.
pub fn await_claim(claim: &Claim, node: &str) -> Result<(), CheckpointError> {
    let start = Instant::now();
    while claim.check().is_err() {
        if start.elapsed() > PATIENCE {
            let folder = claim.folder().display().to_string();
            return Err(CheckpointError::NotShared { node: node.to_owned(), folder });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The node of each rank, numbered in the order of their first ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(Vec<usize>);

impl Nodes {
    /// Every rank tells the name of its node; all ranks call this.
    pub fn find(comm: &mut dyn Comm, name: &str) -> Result<Self, CommError> {
        let mut inbox = Messages::default();
        comm.gather(name.as_bytes(), &mut inbox)?;
        let mut message = vec![];
        if comm.is_root() {
            let mut names: Vec<&[u8]> = vec![];
            for name in inbox.messages() {
                let known = names.iter().position(|&other| other == name);
                let node = known.unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                message.extend((node as u32).to_le_bytes());
            }
        }
        comm.broadcast(&mut message)?;
        let (words, _) = message.as_chunks::<4>();
        Ok(Self(words.iter().map(|&word| u32::from_le_bytes(word) as usize).collect()))
    }

    /// The node of a rank.
    pub fn of(&self, rank: usize) -> usize {
        self.0[rank]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.iter().max().map_or(0, |last| last + 1)
    }

    /// The rank that writes for a rank: its node's first.
    pub fn leader(&self, rank: usize) -> usize {
        let node = self.of(rank);
        self.0.iter().position(|&other| other == node).unwrap_or(rank)
    }

    /// Whether a rank writes.
    pub fn leads(&self, rank: usize) -> bool {
        self.leader(rank) == rank
    }

    /// The ranks of a node.
    pub fn ranks(&self, node: usize) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(move |&(_, &of)| of == node).map(|(rank, _)| rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_with_one_name_share_a_node() {
        let names = ["b", "a", "b", "c", "a"];
        let ranks =
            crate::comm::threads::world(5).into_iter().zip(names).map(|(mut comm, name)| {
                std::thread::spawn(move || Nodes::find(&mut comm, name).expect("no rank is gone"))
            });
        for handle in ranks.collect::<Vec<_>>() {
            let nodes = handle.join().expect("no panic");
            assert_eq!(nodes, Nodes(vec![0, 1, 0, 2, 1]));
            assert_eq!([0, 1, 2, 3, 4].map(|rank| nodes.leader(rank)), [0, 1, 0, 3, 1]);
            assert_eq!(nodes.ranks(1).collect::<Vec<_>>(), [1, 4]);
            assert_eq!(nodes.count(), 3);
        }
    }
}
