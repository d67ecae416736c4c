//! Server and workers: packets go up by one gather; where every rank makes the server's step, their
//! sums come down by one broadcast.

use super::frame;
use super::{Net, NetError, Phase, Round, overflow};
use crate::compressors::{Coder, Compressor, Dense, NotFinite};
use crate::packet::{DecodeError, Packet};
use crate::problems::Losses;
use crate::scalar::Scalar;
use crate::vars::all_finite;

/// The gather that messages belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gather {
    /// Reports, losses and packets.
    First,
    /// The right factors of low rank.
    Second,
}

impl<F: Scalar> Net<'_, F> {
    /// Gathers the messages in `up` and makes mean_i c_i of their packets: at the root, or on every
    /// rank. Of low-rank coders, whose value is not known yet, it makes the mean left factor.
    pub(super) fn sum_at_root(&mut self, round: Round) -> Result<(), NetError> {
        self.gather_up()?;
        if self.comm.is_root() {
            for block in round.blocks().iter() {
                self.mean.block_mut(block).fill(F::zero());
            }
            self.sums.clear();
            self.receive(round, Gather::First, Self::add_packets)?;
            self.write_sums(round)?;
            self.clock.charge(Phase::Server);
        }
        if self.is_replicated() {
            let length = self.broadcast_packets(self.envelope(round, self.due(round).count()))?;
            self.traffic.download_bytes += length * self.placement.workers as u64;
        }
        if self.is_server() {
            let message = std::mem::take(&mut self.down);
            self.read_sums(round, frame::behind_envelope(&message))?;
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

    /// At the root: reads the gathered messages. `add` takes a worker's packets off the
    /// front of the bytes; they are counted.
    pub(super) fn receive(
        &mut self,
        round: Round,
        gather: Gather,
        add: impl for<'b> Fn(&mut Self, usize, Round, &'b [u8]) -> Result<&'b [u8], DecodeError>,
    ) -> Result<(), NetError> {
        let blocks = match gather {
            Gather::First => self.due(round).count(),
            Gather::Second => self.low_rank_due(round).count(),
        };
        let inbox = std::mem::take(&mut self.inbox);
        let mut losses = Losses::default();
        for (rank, message) in inbox.messages().enumerate() {
            let hosted = self.placement.hosted(rank);
            let envelope = self.envelope(round, blocks * hosted.len());
            let opened = envelope.open(message, &format!("rank {rank}"))?;
            let mut rest = opened.rest;
            // They go down with the root's next message.
            self.wishes = self.wishes.and(opened.wishes);
            if opened.failed {
                self.call_off(round)?;
                return Err(NetError::Worker(String::from_utf8_lossy(rest).into_owned()));
            }
            if gather == Gather::First {
                rest = self.read_scalars(round, rank, rest, &mut losses)?;
            }
            for worker in hosted {
                let before = rest.len();
                rest = add(self, worker, round, rest).map_err(|source| NetError::Decode {
                    worker,
                    iteration: round.iteration,
                    source,
                })?;
                self.traffic.upload_bytes += (before - rest.len()) as u64;
            }
            if !rest.is_empty() {
                let problem = format!("rank {rank} sent {} bytes too many", rest.len());
                return Err(NetError::Frame { iteration: round.iteration, problem });
            }
        }
        self.inbox = inbox;
        if gather == Gather::First {
            self.losses.update(losses);
        }
        Ok(())
    }

    /// Takes a rank's report and the losses of its workers off the front of its message.
    pub(super) fn read_scalars<'b>(
        &mut self,
        round: Round,
        rank: usize,
        message: &'b [u8],
        losses: &mut Losses,
    ) -> Result<&'b [u8], NetError> {
        let mut rest = message;
        let short = || NetError::Frame {
            iteration: round.iteration,
            problem: format!("rank {rank} sent {} bytes, too few", message.len()),
        };
        (self.reports[rank], rest) = frame::read_report(rest).ok_or_else(short)?;
        for _ in self.placement.hosted(rank) {
            let local;
            (local, rest) = frame::read_losses(rest).ok_or_else(short)?;
            losses.add_share(local, self.share());
        }
        Ok(rest)
    }

    /// Adds a worker's packets of the first gather: those that may be summed as numbers to `sums`, the
    /// others decoded to `mean`.
    fn add_packets<'b>(
        &mut self,
        worker: usize,
        round: Round,
        mut bytes: &'b [u8],
    ) -> Result<&'b [u8], DecodeError> {
        let (draw, share) = (self.draw(worker, round), self.share());
        for block in self.due(round) {
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
                Coder::LowRank(coder) => {
                    if worker == 0 {
                        coder.left.clear();
                    }
                    coder.left.add(packet, key, F::lit(share))?;
                }
            }
        }
        Ok(bytes)
    }

    /// At the root: the message with the sums, and where every rank awaits them with the means of the
    /// variables that cannot be summed.
    fn write_sums(&mut self, round: Round) -> Result<(), NetError> {
        self.down.clear();
        self.envelope(round, self.due(round).count()).write(&mut self.down);
        for block in self.due(round) {
            if self.links.up[block as usize].coder.summable().is_some() {
                self.sums.write(block, &mut self.down);
            } else if self.is_replicated() {
                let mean = self.mean.block(block);
                if !all_finite(mean) {
                    self.call_off(round)?;
                    let words = overflow(block, NotFinite);
                    let words = format!("rank 0, iteration {}: {words}", round.iteration);
                    return Err(NetError::Worker(words));
                }
                Dense::write(mean, &mut self.down);
            }
        }
        Ok(())
    }

    /// mean_i c_i from the packets of [`Net::write_sums`].
    pub(super) fn read_sums(&mut self, round: Round, mut packets: &[u8]) -> Result<(), NetError> {
        let wrong = |source| NetError::FromServer { iteration: round.iteration, source };
        let (draw, share) = (self.draw(0, round), self.share());
        for block in round.blocks().iter() {
            let replicated = self.is_replicated();
            let mean = self.mean.block_mut(block);
            let link = &mut self.links.up[block as usize];
            let key = link.key(draw, block);
            let due = link.due(round.iteration);
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
