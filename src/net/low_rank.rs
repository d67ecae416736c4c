//! The two rounds of a low-rank coder (`compressors/low_rank.rs` has the mathematics).
//!
//! Round 1 travels with the other packets: each worker's left factor. The server's basis goes to all
//! ranks by a broadcast, round 2 is a gather of the right factors, and the mean right factor comes
//! down with the next iterate: the start of the next power iteration.

use super::frame::{self, Envelope, FAILED};
use super::link::{Links, Uplink, down_key, stream};
use super::star::Round;
use super::{Net, NetError, Phase, overflow};
use crate::compressors::{Coder, LowRank, NotFinite};
use crate::key::{Key, Stream};
use crate::packet::{DecodeError, Packet};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims};

/// Number of the server's packet among its draws for a variable; 0 is the iterate.
const LEFT: usize = 1;
/// As [`LEFT`].
const RIGHT: usize = 2;

/// State of a variable's low-rank coder on this rank.
pub(super) struct Factors<F> {
    /// P~_i of a worker, then at the server mean_i P~_i, then on all ranks the basis P.
    left: Vec<F>,
    /// Q~_i of a worker, then at the server mean_i Q~_i.
    right: Vec<F>,
    /// Q of the iteration before, as all ranks have it.
    warm: Vec<F>,
    /// What each hosted worker compresses.
    vectors: Vec<Vec<F>>,
}

/// The states of the low-rank coders among the links.
pub(super) fn factors<F: Scalar>(
    links: &Links<F>,
    dims: Dims,
    hosted: usize,
    seed: u64,
) -> [Option<Factors<F>>; 3] {
    Block::ALL.map(|block| match &links.up[block as usize].coder {
        Coder::Packet(_) => None,
        Coder::LowRank(coder) => {
            let key = Key::shared(seed, Stream::FactorStart).numbered(block as u32);
            Some(Factors {
                left: vec![F::zero(); coder.left_dim],
                right: vec![F::zero(); coder.right_dim],
                warm: coder.start(key),
                vectors: vec![vec![F::zero(); dims.blocks()[block as usize]]; hosted],
            })
        }
    })
}

impl<F: Scalar> Factors<F> {
    /// At a worker: keeps v_i for the second round and packs its left factor.
    pub fn first_round(
        &mut self,
        coder: &mut LowRank<F>,
        place: usize,
        v: &[F],
        key: Key,
        out: &mut Vec<u8>,
    ) -> Result<(), NotFinite> {
        self.vectors[place].copy_from_slice(v);
        coder.multiply(v, &self.warm, &mut self.left);
        coder.left.encode(&self.left, key, out)
    }

    /// At the server: adds a worker's share to the mean left factor.
    pub fn add_left(
        &mut self,
        coder: &mut LowRank<F>,
        packet: Packet<'_>,
        key: Key,
        share: f64,
        first: bool,
    ) -> Result<(), DecodeError> {
        if first {
            self.left.fill(F::zero());
        }
        coder.left.decode_add(packet, key, F::lit(share), &mut self.left)
    }
}

impl<F: Scalar> Net<'_, F> {
    /// The variables of a low-rank coder that are sent in iteration k.
    pub(super) fn two_rounds(&self, k: u64) -> impl Iterator<Item = Block> + use<F> {
        let low_rank = self.factors.each_ref().map(Option::is_some);
        self.due(k).filter(move |&block| low_rank[block as usize])
    }

    /// The coder and the state of a variable with a low-rank coder.
    fn low_rank(&mut self, block: Block) -> Option<(&mut LowRank<F>, &mut Factors<F>)> {
        match (&mut self.links.up[block as usize].coder, &mut self.factors[block as usize]) {
            (Coder::LowRank(coder), Some(state)) => Some((coder, state)),
            _ => None,
        }
    }

    /// The rest of what low-rank coders send in iteration k; their values are added to `mean`.
    pub(super) fn second_round(&mut self, k: u64) -> Result<(), NetError> {
        let blocks = self.two_rounds(k).count();
        if blocks == 0 {
            return Ok(());
        }
        self.share_basis(k, self.envelope(k, blocks))?;
        self.pack_right(k, self.envelope(k, blocks * self.hosted().len()))?;
        self.gather_up()?;
        if self.comm.is_root() {
            self.receive_right(k)?;
            self.clock.charge(Phase::Server);
        }
        Ok(())
    }

    /// The server's basis P to all ranks.
    fn share_basis(&mut self, k: u64, envelope: Envelope) -> Result<(), NetError> {
        let mut failure = None;
        if self.comm.is_root() {
            let mut message = std::mem::take(&mut self.down);
            message.clear();
            envelope.write(&mut message);
            for block in self.two_rounds(k) {
                let key = down_key(self.setting.seed, k, block, LEFT);
                let Some((coder, state)) = self.low_rank(block) else { continue };
                coder.orthonormalize(&mut state.left);
                if let Err(source) = coder.left.encode(&state.left, key, &mut message) {
                    failure = Some(format!("rank 0, iteration {k}: {}", overflow(block, source)));
                    message.clear();
                    Envelope { flags: FAILED, ..envelope }.write(&mut message);
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
        self.read_basis(k, frame::behind_envelope(&message))
            .map_err(|source| NetError::FromServer { iteration: k, source })?;
        self.down = message;
        Ok(())
    }

    fn read_basis(&mut self, k: u64, mut packets: &[u8]) -> Result<(), DecodeError> {
        for block in self.two_rounds(k) {
            let key = down_key(self.setting.seed, k, block, LEFT);
            let Some((coder, state)) = self.low_rank(block) else { continue };
            let packet;
            (packet, packets) = Packet::split(packets)?;
            state.left.fill(F::zero());
            coder.left.decode_add(packet, key, F::one(), &mut state.left)?;
            // What its code lost must not make it more or less than a basis.
            coder.orthonormalize(&mut state.left);
        }
        DecodeError::expect("bytes after the last factor", packets.len(), 0)
    }

    /// Every hosted worker's right factors to `up`, and what the workers remember of them.
    fn pack_right(&mut self, k: u64, envelope: Envelope) -> Result<(), NetError> {
        self.up.clear();
        envelope.write(&mut self.up);
        for worker in self.hosted() {
            let packed =
                self.two_rounds(k).try_for_each(|block| self.pack_right_of(worker, k, block));
            if !self.pass_on(packed, worker, envelope)? {
                break;
            }
        }
        self.clock.charge(Phase::Compress);
        Ok(())
    }

    fn pack_right_of(&mut self, worker: usize, k: u64, block: Block) -> Result<(), NetError> {
        let wrong = |source| NetError::Decode { worker, iteration: k, source };
        let place = worker - self.hosted().start;
        let key = self.second_key(worker, k, block);
        let Self { links, factors, up, .. } = self;
        let Uplink { coder: Coder::LowRank(coder), gain, .. } = &mut links.up[block as usize]
        else {
            return Ok(());
        };
        let Some(Factors { left, right, vectors, .. }) = &mut factors[block as usize] else {
            return Ok(());
        };
        let start = up.len();
        coder.multiply_transposed(&vectors[place], left, right);
        (coder.right.encode(right, key, up))
            .map_err(|source| NetError::Worker(overflow(block, source)))?;
        let (packet, _) = Packet::split(&up[start..]).map_err(wrong)?;
        right.fill(F::zero());
        coder.right.decode_add(packet, key, F::one(), right).map_err(wrong)?;
        let gain = F::lit(*gain) * coder.right_gain;
        let mut sent = |scale: F, out: &mut [F]| {
            coder.add_product(scale * gain, left, right, out);
            Ok(())
        };
        links.feedback.follow(worker, block, &vectors[place], Some(&mut sent)).map_err(wrong)
    }

    /// At the root: mean_i c_i = P (mean_i Q~_i)' from the gathered right factors.
    fn receive_right(&mut self, k: u64) -> Result<(), NetError> {
        for block in self.two_rounds(k) {
            if let Some((_, state)) = self.low_rank(block) {
                state.right.fill(F::zero());
            }
        }
        self.receive(k, Round::Second, Self::add_right)?;
        for block in self.two_rounds(k) {
            let gain = F::lit(self.links.up[block as usize].gain);
            let mean = self.mean.block_mut(block);
            if let (Coder::LowRank(coder), Some(state)) =
                (&self.links.up[block as usize].coder, &self.factors[block as usize])
            {
                coder.add_product(gain * coder.right_gain, &state.left, &state.right, mean);
            }
        }
        Ok(())
    }

    fn add_right<'b>(
        &mut self,
        worker: usize,
        k: u64,
        mut bytes: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        let share = F::lit(self.share());
        for block in self.two_rounds(k) {
            let key = self.second_key(worker, k, block);
            let Some((coder, state)) = self.low_rank(block) else { continue };
            let packet;
            (packet, bytes) = Packet::split(bytes)?;
            coder.right.decode_add(packet, key, share, &mut state.right)?;
        }
        Ok(bytes)
    }

    fn second_key(&self, worker: usize, k: u64, block: Block) -> Key {
        let streams = [Stream::SecondX, Stream::SecondY, Stream::SecondZ];
        self.draw(worker, k).key(stream(streams, block))
    }

    /// The variables whose mean right factor goes down with the iterate of iteration k: those that
    /// were sent in the iteration before.
    fn freshly_warm(&self, k: u64) -> impl Iterator<Item = Block> + use<F> {
        let before = k.checked_sub(1).map(|before| self.two_rounds(before));
        before.into_iter().flatten()
    }

    /// Number of packets of [`Net::write_warm_factors`].
    pub(super) fn warm_factors(&self, k: u64) -> usize {
        self.freshly_warm(k).count()
    }

    /// Appends the mean right factors to the root's message.
    pub(super) fn write_warm_factors(&mut self, k: u64) -> Result<(), NotFinite> {
        let mut message = std::mem::take(&mut self.down);
        for block in self.freshly_warm(k) {
            let key = down_key(self.setting.seed, k, block, RIGHT);
            if let Some((coder, state)) = self.low_rank(block) {
                coder.right.encode(&state.right, key, &mut message)?;
            }
        }
        self.down = message;
        Ok(())
    }

    /// Takes the mean right factors off the root's message, on every rank.
    pub(super) fn read_warm_factors<'b>(
        &mut self,
        k: u64,
        mut packets: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        for block in self.freshly_warm(k) {
            let key = down_key(self.setting.seed, k, block, RIGHT);
            let Some((coder, state)) = self.low_rank(block) else { continue };
            let packet;
            (packet, packets) = Packet::split(packets)?;
            state.right.fill(F::zero());
            coder.right.decode_add(packet, key, F::one(), &mut state.right)?;
            coder.keep_warm(&mut state.warm, &state.right);
        }
        Ok(packets)
    }
}
