//! Writing a set; every rank takes part.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{Manifest, Section};
use super::{CheckpointError, Checkpoints, Visit, sets, together};
use crate::archive::{Archive, Holder};
use crate::comm::{Comm, Messages, Placement};

/// What a node's leader tells the root of its part; nothing on other ranks.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    server: Option<Section>,
    /// With their numbers.
    workers: Vec<(usize, Section)>,
    length: u64,
}

/// A rank's state as it is written: at the root the server's, then each hosted worker's.
pub struct State {
    bytes: Vec<u8>,
    /// Length of the server's; 0 but at the root.
    server: usize,
    /// Length of a worker's, the same for all.
    worker: usize,
}

impl Checkpoints {
    /// What this rank has to save after so many iterations.
    pub fn state(
        &self,
        rank: usize,
        ranks: usize,
        iteration: u64,
        visit: Visit<'_>,
    ) -> Result<State, CheckpointError> {
        let mut bytes = vec![];
        let mut write = |holder, whose: String| {
            let start = bytes.len();
            let mut archive = Archive::writing(&mut bytes);
            visit(holder, &mut archive);
            let finished = archive.finish();
            finished.map_err(|source| CheckpointError::State { iteration, whose, source })?;
            Ok::<usize, CheckpointError>(bytes.len() - start)
        };
        let server = if rank == 0 { write(Holder::Server, "the server".into())? } else { 0 };
        let mut worker = 0;
        for hosted in self.placement(ranks).hosted(rank) {
            worker = write(Holder::Worker(hosted), format!("rank {rank}, worker {hosted}"))?;
        }
        Ok(State { bytes, server, worker })
    }

    /// Saves what [`Checkpoints::state`] gave on each rank. Every rank calls this; `log`, the root's, is given
    /// back when the set is restored.
    pub fn save(
        &self,
        comm: &mut dyn Comm,
        iteration: u64,
        log: Value,
        state: Result<State, CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let (rank, placement) = (comm.rank(), self.placement(comm.ranks()));
        let state = together(comm, state)?;
        let parts = self.collect(comm, placement, &state)?;
        let written = match self.nodes.leads(rank) {
            true => self.write_part(rank, placement, iteration, &state, &parts),
            false => Ok(Written::default()),
        };
        let written = together(comm, written)?;
        let mut inbox = Messages::default();
        comm.gather(&serde_json::to_vec(&written).unwrap_or_default(), &mut inbox)?;
        let sealed = match comm.is_root() {
            true => self.seal(iteration, log, &inbox),
            false => Ok(()),
        };
        together(comm, sealed)
    }

    /// Brings the state of a node's ranks to its leader.
    fn collect(
        &self,
        comm: &mut dyn Comm,
        placement: Placement,
        state: &State,
    ) -> Result<Messages, CheckpointError> {
        let rank = comm.rank();
        let mut outgoing = Messages::default();
        for to in 0..comm.ranks() {
            let mine: &[u8] = if to == self.nodes.leader(rank) { &state.bytes } else { &[] };
            outgoing.push(|out| out.extend_from_slice(mine));
        }
        // The root is the leader of its own node: no other one hears of the server's state.
        let length = |from: usize| match self.nodes.leader(from) == rank {
            true if from == rank => state.bytes.len(),
            true => state.worker * placement.hosted(from).len(),
            false => 0,
        };
        let lengths: Vec<usize> = (0..comm.ranks()).map(length).collect();
        let mut incoming = Messages::default();
        comm.exchange(&outgoing, &lengths, &mut incoming)?;
        Ok(incoming)
    }

    /// At a leader: its node's part.
    fn write_part(
        &self,
        rank: usize,
        placement: Placement,
        iteration: u64,
        state: &State,
        parts: &Messages,
    ) -> Result<Written, CheckpointError> {
        let node = self.nodes.of(rank);
        let bytes = parts.bytes();
        let mut written = Written { length: bytes.len() as u64, ..Written::default() };
        let mut end = 0;
        let mut section = |length: usize| {
            let offset = end;
            end += length;
            let crc32c = crc32c::crc32c(&bytes[offset..end]);
            Section { part: node, offset: offset as u64, length: length as u64, crc32c }
        };
        for from in self.nodes.ranks(node) {
            if from == 0 {
                written.server = Some(section(state.server));
            }
            for worker in placement.hosted(from) {
                written.workers.push((worker, section(state.worker)));
            }
        }
        sets::create(self.claim.folder(), iteration)?;
        self.claim.replace(&sets::part(iteration, node), bytes)?;
        Ok(written)
    }

    /// At the root: the manifest, and the end of the oldest set.
    fn seal(&self, iteration: u64, log: Value, inbox: &Messages) -> Result<(), CheckpointError> {
        let mut lengths = vec![0; self.nodes.count()];
        let mut server = None;
        let mut workers = vec![];
        for (rank, message) in inbox.messages().enumerate() {
            let words = |error| CheckpointError::Message(format!("rank {rank}: {error}"));
            let written: Written = serde_json::from_slice(message).map_err(words)?;
            if self.nodes.leads(rank) {
                lengths[self.nodes.of(rank)] = written.length;
            }
            server = server.or(written.server);
            workers.extend(written.workers);
        }
        workers.sort_by_key(|&(worker, _)| worker);
        let workers: Vec<Section> = workers.into_iter().map(|(_, section)| section).collect();
        let Some(server) = server.filter(|_| workers.len() == self.identity.workers) else {
            let problem = format!("{} of {} workers", workers.len(), self.identity.workers);
            return Err(CheckpointError::Message(problem));
        };
        let identity = self.identity.clone();
        let manifest = Manifest::new(iteration, identity, log, lengths, server, workers);
        self.claim.replace(&sets::manifest(iteration), &manifest.bytes())?;
        Ok(sets::keep(self.claim.folder(), sets::KEPT)?)
    }
}
