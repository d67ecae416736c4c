//! Server and workers: packets go up by one gather; where every rank makes the server's step, their
//! sums come down by one broadcast.

use super::frame::{self, FAILED};
use super::link::down_key;
use super::{Net, NetError, Phase};
use crate::compressors::{Coder, Compressor, Dense};
use crate::packet::{DecodeError, Packet};
use crate::problems::Losses;
use crate::scalar::Scalar;
use crate::vars::Block;

impl<F: Scalar> Net<'_, F> {
    /// Gathers the messages in `up` and makes mean_i c_i of their packets: at the root, or on every
    /// rank. Of low-rank coders, whose value is not known yet, it makes the mean left factor.
    pub(super) fn sum_at_root(&mut self, k: u64) -> Result<(), NetError> {
        self.gather_up()?;
        if self.comm.is_root() {
            self.receive(k, Self::add_packets)?;
            self.write_sums(k)?;
            self.clock.charge(Phase::Server);
        }
        if self.is_replicated() {
            let length = self.broadcast_packets(self.envelope(k, self.due(k).count()))?;
            self.traffic.download_bytes += length * self.placement.workers as u64;
        }
        if self.is_server() {
            let message = std::mem::take(&mut self.down);
            self.read_sums(k, frame::behind_envelope(&message))?;
            self.down = message;
            self.clock.charge(Phase::Server);
        }
        Ok(())
    }

    /// Brings every rank's `up` to the root's inbox.
    pub(super) fn gather_up(&mut self) -> Result<(), NetError> {
        let cost = self.comm.gather(&self.up, &mut self.inbox)?;
        self.wire.0 += cost.bytes;
        self.clock.charge_collective(cost);
        Ok(())
    }

    /// At the root: reads the gathered messages. `add` takes a worker's packets off the front of the
    /// bytes; they are counted.
    pub(super) fn receive(
        &mut self,
        k: u64,
        add: impl for<'b> Fn(&mut Self, usize, u64, &'b [u8]) -> Result<&'b [u8], DecodeError>,
    ) -> Result<(), NetError> {
        self.mean.as_mut_slice().fill(F::zero());
        self.sums.clear();
        let inbox = std::mem::take(&mut self.inbox);
        let mut losses = Losses::default();
        let mut failure = None;
        for (rank, message) in inbox.messages().enumerate() {
            let hosted = self.placement.hosted(rank);
            let envelope = self.envelope(k, self.due(k).count() * hosted.len());
            let (flags, mut rest) = envelope.open(message, &format!("rank {rank}"))?;
            if flags & FAILED != 0 {
                failure = Some(String::from_utf8_lossy(rest).into_owned());
                break;
            }
            let short = || NetError::Frame {
                iteration: k,
                problem: format!("rank {rank} sent {} bytes, too few", message.len()),
            };
            (self.reports[rank], rest) = frame::read_report(rest).ok_or_else(short)?;
            for _ in hosted.clone() {
                let local;
                (local, rest) = frame::read_losses(rest).ok_or_else(short)?;
                losses.add_share(local, self.share());
            }
            for worker in hosted {
                let before = rest.len();
                rest = add(self, worker, k, rest).map_err(|source| NetError::Decode {
                    worker,
                    iteration: k,
                    source,
                })?;
                self.traffic.upload_bytes += (before - rest.len()) as u64;
            }
            if !rest.is_empty() {
                let problem = format!("rank {rank} sent {} bytes too many", rest.len());
                return Err(NetError::Frame { iteration: k, problem });
            }
        }
        self.inbox = inbox;
        if let Some(words) = failure {
            self.call_off(k)?;
            return Err(NetError::Worker(words));
        }
        self.losses = losses;
        Ok(())
    }

    /// Adds a worker's packets of the first round: those that may be summed as numbers to `sums`, the
    /// others decoded to `mean`.
    fn add_packets<'b>(
        &mut self,
        worker: usize,
        k: u64,
        mut bytes: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        let (draw, share) = (self.draw(worker, k), self.share());
        for block in self.due(k) {
            let packet;
            (packet, bytes) = Packet::split(bytes)?;
            let link = &mut self.links.up[block as usize];
            let key = link.key(draw, block);
            match &mut link.coder {
                Coder::Packet(compressor) => match compressor.summable() {
                    Some(count) => self.sums.add(block, packet, count)?,
                    None => {
                        let scale = F::lit(share * link.gain);
                        compressor.decode_add(packet, key, scale, self.mean.block_mut(block))?;
                    }
                },
                Coder::LowRank(factors) => {
                    if let Some(state) = &mut self.factors[block as usize] {
                        state.add_left(factors, packet, key, share, worker == 0)?;
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// At the root: the message with the sums, and where every rank awaits them with the means of the
    /// variables that cannot be summed.
    fn write_sums(&mut self, k: u64) -> Result<(), NetError> {
        self.down.clear();
        self.envelope(k, self.due(k).count()).write(&mut self.down);
        for block in self.due(k) {
            if self.links.up[block as usize].coder.summable().is_some() {
                self.sums.write(block, &mut self.down);
            } else if self.is_replicated() {
                let mean = self.mean.block(block);
                let key = down_key(self.setting.seed, k, block, 0);
                let mut dense = Dense { dim: mean.len() };
                if dense.encode(mean, key, &mut self.down).is_err() {
                    self.call_off(k)?;
                    let name = block.name();
                    let words =
                        format!("iteration {k}: the mean direction of {name} is not finite");
                    return Err(NetError::Worker(words));
                }
            }
        }
        Ok(())
    }

    /// mean_i c_i from the packets of [`Net::write_sums`].
    pub(super) fn read_sums(&mut self, k: u64, mut packets: &[u8]) -> Result<(), NetError> {
        let wrong = |source| NetError::FromServer { iteration: k, source };
        let (draw, share) = (self.draw(0, k), self.share());
        let blocks = Block::ALL.map(|block| self.due(k).any(|due| due == block));
        for (block, due) in Block::ALL.into_iter().zip(blocks) {
            let replicated = self.is_replicated();
            let mean = self.mean.block_mut(block);
            let link = &mut self.links.up[block as usize];
            let key = link.key(draw, block);
            let summed = due && link.coder.summable().is_some();
            if replicated || summed {
                mean.fill(F::zero());
            }
            if !due || !(replicated || summed) {
                continue;
            }
            let packet;
            (packet, packets) = Packet::split(packets).map_err(wrong)?;
            match &mut link.coder {
                Coder::Packet(compressor) if summed => {
                    let scale = F::lit(share * link.gain);
                    compressor.decode_add(packet, key, scale, mean).map_err(wrong)?;
                }
                _ => (Dense { dim: mean.len() }.decode_add(packet, key, F::one(), mean))
                    .map_err(wrong)?,
            }
        }
        DecodeError::expect("bytes after the last sum", packets.len(), 0).map_err(wrong)
    }
}
