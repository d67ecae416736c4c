//! Reading a set back; every rank takes part.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use serde_json::Value;

use super::manifest::{Flaw, Manifest, Section};
use super::{CheckpointError, Checkpoints, Visit, sets, together};
use crate::archive::{Archive, Holder};
use crate::comm::{Comm, Failure, agree};

/// Where a run goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// Iterations done.
    pub iteration: u64,
    /// What the root had given to [`Checkpoints::save`].
    pub log: Value,
    /// Remarks for the user: sets that could not be used, another program version. At the root.
    pub notices: Vec<String>,
    /// What this rank needs of the state.
    state: Vec<(Holder, Vec<u8>)>,
}

impl Restored {
    /// Gives the state back.
    pub fn apply(&self, visit: Visit<'_>) -> Result<(), CheckpointError> {
        for (holder, bytes) in &self.state {
            let mut archive = Archive::reading(bytes);
            visit(*holder, &mut archive);
            let failed = |source| {
                let (set, whose) = (sets::name(self.iteration), format!("{holder:?}"));
                CheckpointError::Length { set, whose, source }
            };
            archive.finish().map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether what was given as `log` can still be used; asked at the root.
pub type CheckLog<'c> = &'c dyn Fn(&Value) -> Result<(), String>;

/// The sets that may be tried, at the root; none on other ranks.
#[derive(Default)]
struct Candidates {
    /// Iterations, ascending.
    left: Vec<u64>,
    /// Those that are damaged, and how.
    damaged: Vec<(u64, String)>,
}

impl Checkpoints {
    /// Reads the newest set that is whole, or finds that there is none. Damaged sets above it are put aside.
    /// Every rank calls this.
    pub fn restore(
        &self,
        comm: &mut dyn Comm,
        check_log: CheckLog<'_>,
    ) -> Result<Option<Restored>, CheckpointError> {
        let candidates = if comm.is_root() { self.candidates() } else { Ok(Candidates::default()) };
        let mut candidates = together(comm, candidates)?;
        while let Some(manifest) = self.next(comm, &mut candidates, check_log)? {
            let state = self.read_state(&manifest, comm.rank(), comm.ranks());
            let told = state.as_ref().map(|_| ());
            let told = told.map_err(|reason| Failure { code: 6, message: reason.clone() });
            match (agree(comm, told)?, state) {
                (Ok(()), Ok(state)) => {
                    let notices = together(comm, self.finish(&manifest, candidates))?;
                    let Manifest { iteration, log, .. } = manifest;
                    return Ok(Some(Restored { iteration, log, notices, state }));
                }
                (Ok(()), Err(reason)) => return Err(CheckpointError::Message(reason)),
                (Err(failure), _) => candidates.damaged.push((manifest.iteration, failure.message)),
            }
        }
        Ok(None)
    }

    fn candidates(&self) -> Result<Candidates, CheckpointError> {
        let folder = self.claim.folder();
        sets::clean(folder)?;
        Ok(Candidates { left: sets::sealed(folder)?, ..Candidates::default() })
    }

    /// The newest set that is left and that looks whole to the root, on every rank.
    fn next(
        &self,
        comm: &mut dyn Comm,
        candidates: &mut Candidates,
        check_log: CheckLog<'_>,
    ) -> Result<Option<Manifest>, CheckpointError> {
        let chosen = if comm.is_root() { self.choose(candidates, check_log) } else { Ok(None) };
        let chosen = together(comm, chosen)?;
        let mut message = chosen.as_ref().map_or(vec![], Manifest::bytes);
        comm.broadcast(&mut message)?;
        match (chosen, message.is_empty()) {
            (Some(manifest), _) => Ok(Some(manifest)),
            (None, true) => Ok(None),
            (None, false) => match Manifest::read(&message) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(flaw) => Err(CheckpointError::Message(flaw.to_string())),
            },
        }
    }

    fn choose(
        &self,
        candidates: &mut Candidates,
        check_log: CheckLog<'_>,
    ) -> Result<Option<Manifest>, CheckpointError> {
        while let Some(iteration) = candidates.left.pop() {
            match self.read_manifest(iteration, check_log) {
                Ok(manifest) => {
                    manifest.suits(&self.identity, &self.words(iteration))?;
                    return Ok(Some(manifest));
                }
                Err(Flaw::Format { found, read }) => {
                    return Err(CheckpointError::Other {
                        set: self.words(iteration),
                        what: "the format version".into(),
                        theirs: found,
                        ours: read.to_string(),
                        remedy: "use the version of the program that wrote it, or give another --out",
                    });
                }
                Err(flaw) => candidates.damaged.push((iteration, flaw.to_string())),
            }
        }
        if candidates.damaged.is_empty() {
            return Ok(None);
        }
        let reason =
            |(iteration, reason): &(u64, String)| format!("{}: {reason}", sets::name(*iteration));
        Err(CheckpointError::AllDamaged {
            folder: self.claim.folder().display().to_string(),
            reasons: candidates.damaged.iter().map(reason).collect(),
        })
    }

    /// A set's manifest, if it and the lengths of its parts are as they were written.
    fn read_manifest(&self, iteration: u64, check_log: CheckLog<'_>) -> Result<Manifest, Flaw> {
        let folder = self.claim.folder();
        let unreadable = |error: std::io::Error| Flaw::Damaged(format!("cannot be read: {error}"));
        let bytes = fs::read(folder.join(sets::manifest(iteration))).map_err(unreadable)?;
        let manifest = Manifest::read(&bytes)?;
        if manifest.iteration != iteration || !manifest.is_gapless() {
            return Err(Flaw::Damaged("its manifest contradicts itself".into()));
        }
        for (node, &expected) in manifest.parts.iter().enumerate() {
            let part = sets::part(iteration, node);
            let found = fs::metadata(folder.join(&part)).map_err(unreadable)?.len();
            if found != expected {
                return Err(Flaw::Damaged(format!("{part} has {found} bytes, not {expected}")));
            }
        }
        check_log(&manifest.log).map_err(Flaw::Damaged)?;
        Ok(manifest)
    }

    /// The sections that a rank needs, verified.
    fn read_state(
        &self,
        manifest: &Manifest,
        rank: usize,
        ranks: usize,
    ) -> Result<Vec<(Holder, Vec<u8>)>, String> {
        let hosted = self.placement(ranks).hosted(rank);
        let workers = hosted.map(|worker| (Holder::Worker(worker), &manifest.workers[worker]));
        let needed = std::iter::once((Holder::Server, &manifest.server)).chain(workers);
        needed.map(|(holder, section)| Ok((holder, self.read(manifest, section)?))).collect()
    }

    fn read(&self, manifest: &Manifest, section: &Section) -> Result<Vec<u8>, String> {
        let part = sets::part(manifest.iteration, section.part);
        let read = || {
            let mut file = File::open(self.claim.folder().join(&part))?;
            file.seek(SeekFrom::Start(section.offset))?;
            let mut bytes = vec![];
            file.take(section.length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes =
            read().map_err(|error: std::io::Error| format!("{part} cannot be read: {error}"))?;
        if bytes.len() as u64 != section.length || crc32c::crc32c(&bytes) != section.crc32c {
            return Err(format!("{part} is damaged: a checksum differs"));
        }
        Ok(bytes)
    }

    /// Puts damaged sets aside; what the user is to know.
    fn finish(
        &self,
        manifest: &Manifest,
        candidates: Candidates,
    ) -> Result<Vec<String>, CheckpointError> {
        let mut notices = vec![];
        for (iteration, reason) in candidates.damaged {
            let aside = sets::put_aside(self.claim.folder(), iteration)?;
            notices.push(format!(
                "{}: {reason}; it is now {}",
                sets::name(iteration),
                aside.display()
            ));
        }
        let set = sets::name(manifest.iteration);
        let (theirs, ours) = (&manifest.program_version, crate::system::version());
        if theirs != ours {
            notices.push(format!(
                "{set} was written by version {theirs}, this is {ours}: the run goes on, but its numbers may \
                 differ in the last bits from those of one version"
            ));
        }
        let (theirs, ours) = (&manifest.product_kernels, crate::system::product_kernels());
        if !theirs.is_empty() && theirs != ours {
            notices.push(format!(
                "{set} was written on a processor with the products of {theirs}, this one has those of {ours}: \
                 the run goes on, but its last bits are not those of one kind of processor"
            ));
        }
        Ok(notices)
    }

    fn words(&self, iteration: u64) -> String {
        self.claim.folder().join(sets::name(iteration)).display().to_string()
    }
}
