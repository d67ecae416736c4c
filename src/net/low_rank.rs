//! The two gathers of a low-rank coder (`compressors/low_rank.rs` has the mathematics).
//!
//! The first brings each worker's left factor with the other packets. The server's basis goes to all
//! ranks by a broadcast, the second is of the right factors, and the mean right factor comes
//! down with the next iterate: the start of the next power iteration.

use super::frame::{self, Envelope};
use super::link::{Links, Uplink, down_key, stream};
use super::star::Gather;
use super::{Net, NetError, Phase, Round, overflow};
use crate::compressors::{Coder, LowRank, NotFinite};
use crate::key::{Key, Stream};
use crate::packet::{DecodeError, Packet};
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks};

/// Number of the server's packet among its draws for a variable; 0 is the iterate.
const LEFT: usize = 1;
/// As [`LEFT`].
const RIGHT: usize = 2;

/// Before the first iteration: the same start on all ranks.
pub(super) fn start<F: Scalar>(links: &mut Links<F>, hosted: usize, seed: u64) {
    for block in Block::ALL {
        if let Coder::LowRank(coder) = &mut links.up[block as usize].coder {
            let key = Key::shared(seed, Stream::FactorStart).numbered(block as u32);
            coder.start(key, hosted);
        }
    }
}

impl<F: Scalar> Net<'_, F> {
    /// The variables of a low-rank coder that are sent in a round.
    pub(super) fn low_rank_due(&self, round: Round) -> impl Iterator<Item = Block> + use<F> {
        let low_rank = self.links.up.each_ref().map(|link| matches!(link.coder, Coder::LowRank(_)));
        self.due(round).filter(move |&block| low_rank[block as usize])
    }

    /// The coder of a variable of [`Net::low_rank_due`].
    fn low_rank(&mut self, block: Block) -> Option<&mut LowRank<F>> {
        match &mut self.links.up[block as usize].coder {
            Coder::LowRank(coder) => Some(coder),
            Coder::Packet(_) => None,
        }
    }

    /// The rest of what low-rank coders send in a round; their values are added to `mean`.
    pub(super) fn send_right_factors(&mut self, round: Round) -> Result<(), NetError> {
        let blocks = self.low_rank_due(round).count();
        if blocks == 0 {
            return Ok(());
        }
        self.share_basis(round, self.envelope(round, blocks))?;
        self.pack_right(round, self.envelope(round, blocks * self.hosted().len()))?;
        self.gather_up()?;
        if self.comm.is_root() {
            self.receive_right(round)?;
            self.clock.charge(Phase::Server);
        }
        self.warm = self.low_rank_due(round).fold(self.warm, Blocks::with);
        Ok(())
    }

    /// The server's basis P to all ranks.
    fn share_basis(&mut self, round: Round, envelope: Envelope) -> Result<(), NetError> {
        let mut failure = None;
        if self.comm.is_root() {
            let mut message = std::mem::take(&mut self.down);
            message.clear();
            envelope.write(&mut message);
            for block in self.low_rank_due(round) {
                let key = down_key(self.setting.seed, round, block, LEFT);
                let Some(coder) = self.low_rank(block) else { continue };
                coder.make_basis();
                if let Err(source) = coder.left.encode(key, &mut message) {
                    let words = overflow(block, source);
                    failure = Some(format!("rank 0, iteration {}: {words}", round.iteration));
                    message.clear();
                    Envelope { failed: true, ..envelope }.write(&mut message);
                    break;
                }
            }
            self.down = message;
            self.clock.charge(Phase::Server);
        }
        let length = self.broadcast_packets(envelope)?;
        if let Some(words) = failure {
            return Err(NetError::Worker(words));
        }
        self.traffic.download_bytes += length * self.placement.workers as u64;
        let message = std::mem::take(&mut self.down);
        self.read_basis(round, frame::behind_envelope(&message))
            .map_err(|source| NetError::FromServer { iteration: round.iteration, source })?;
        self.down = message;
        Ok(())
    }

    fn read_basis(&mut self, round: Round, mut packets: &[u8]) -> Result<(), DecodeError> {
        for block in self.low_rank_due(round) {
            let key = down_key(self.setting.seed, round, block, LEFT);
            let Some(coder) = self.low_rank(block) else { continue };
            let packet;
            (packet, packets) = Packet::split(packets)?;
            coder.left.read(packet, key)?;
            // What its code lost must not make it more or less than a basis.
            coder.make_basis();
        }
        DecodeError::expect("bytes after the last factor", packets.len(), 0)
    }

    /// Every hosted worker's right factors to `up`, and what the workers remember of them.
    fn pack_right(&mut self, round: Round, envelope: Envelope) -> Result<(), NetError> {
        self.up.clear();
        envelope.write(&mut self.up);
        for worker in self.hosted() {
            let packed = self
                .low_rank_due(round)
                .try_for_each(|block| self.pack_right_of(worker, round, block));
            if !self.pass_on(packed, worker, envelope)? {
                break;
            }
        }
        self.clock.charge(Phase::Compress);
        Ok(())
    }

    fn pack_right_of(&mut self, worker: usize, round: Round, block: Block) -> Result<(), NetError> {
        let wrong = |source| NetError::Decode { worker, iteration: round.iteration, source };
        let place = worker - self.hosted().start;
        let key = self.second_key(worker, round, block);
        let Self { links, up, .. } = self;
        let Uplink { coder: Coder::LowRank(coder), gain, .. } = &mut links.up[block as usize]
        else {
            return Ok(());
        };
        let start = up.len();
        coder.project_back(place);
        (coder.right.encode(key, up)).map_err(|e| NetError::Worker(overflow(block, e)))?;
        let (packet, _) = Packet::split(&up[start..]).map_err(wrong)?;
        coder.right.read(packet, key).map_err(wrong)?;
        let gain = F::lit(*gain);
        let mut sent = |scale: F, out: &mut [F]| {
            coder.add_product(scale * gain, out);
            Ok(())
        };
        links.feedback.follow(worker, block, coder.vector(place), Some(&mut sent)).map_err(wrong)
    }

    /// At the root: mean_i c_i = P (mean_i Q~_i)' from the gathered right factors.
    fn receive_right(&mut self, round: Round) -> Result<(), NetError> {
        for block in self.low_rank_due(round) {
            if let Some(coder) = self.low_rank(block) {
                coder.right.clear();
            }
        }
        self.receive(round, Gather::Second, Self::add_right)?;
        for block in self.low_rank_due(round) {
            let Uplink { coder, gain, .. } = &self.links.up[block as usize];
            if let Coder::LowRank(coder) = coder {
                coder.add_product(F::lit(*gain), self.mean.block_mut(block));
            }
        }
        Ok(())
    }

    fn add_right<'b>(
        &mut self,
        worker: usize,
        round: Round,
        mut bytes: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        let share = F::lit(self.share());
        for block in self.low_rank_due(round) {
            let key = self.second_key(worker, round, block);
            let Some(coder) = self.low_rank(block) else { continue };
            let packet;
            (packet, bytes) = Packet::split(bytes)?;
            coder.right.add(packet, key, share)?;
        }
        Ok(bytes)
    }

    fn second_key(&self, worker: usize, round: Round, block: Block) -> Key {
        let streams = [Stream::SecondX, Stream::SecondY, Stream::SecondZ];
        self.draw(worker, round).key(stream(streams, block))
    }

    /// Appends the mean right factors of what was sent since the last iterate to the root's message.
    pub(super) fn write_warm_factors(&mut self, round: Round) -> Result<(), NotFinite> {
        let mut message = std::mem::take(&mut self.down);
        for block in self.warm.iter() {
            let key = down_key(self.setting.seed, round, block, RIGHT);
            if let Some(coder) = self.low_rank(block) {
                coder.right.encode(key, &mut message)?;
            }
        }
        self.down = message;
        Ok(())
    }

    /// Takes the mean right factors off the root's message, on every rank.
    pub(super) fn read_warm_factors<'b>(
        &mut self,
        round: Round,
        mut packets: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        for block in self.warm.iter() {
            let key = down_key(self.setting.seed, round, block, RIGHT);
            let Some(coder) = self.low_rank(block) else { continue };
            let packet;
            (packet, packets) = Packet::split(packets)?;
            coder.right.read(packet, key)?;
            coder.keep_warm();
        }
        self.warm = Blocks::NONE;
        Ok(packets)
    }
}
