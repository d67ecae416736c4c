//! The way down: the server's iterate to the workers.

use super::frame::{self, Envelope};
use super::link::{Downlink, down_key};
use super::{Net, NetError, Phase, Round, overflow};
use crate::compressors::{Compressor, Dense};
use crate::packet::{DecodeError, Packet};
use crate::scalar::Scalar;
use crate::vars::{Vars, add_scaled};

impl<F: Scalar> Net<'_, F> {
    /// The round's variables of the server's iterate to all workers, into each rank's `copy`: a
    /// download. `copy` must hold the run's start at first, and then what the last call left there, or
    /// what every rank puts in its place alike.
    pub fn publish(
        &mut self,
        round: impl Into<Round>,
        server: &Vars<F>,
        copy: &mut Vars<F>,
    ) -> Result<(), NetError> {
        let round = round.into();
        self.begin(round);
        if self.is_replicated() {
            for block in round.blocks().iter() {
                copy.block_mut(block).copy_from_slice(server.block(block));
            }
            self.clock.charge(Phase::Server);
            return Ok(());
        }
        let envelope = self.envelope(round, round.blocks().iter().chain(self.warm.iter()).count());
        let written = if self.comm.is_root() {
            self.write_down(round, envelope, server, copy)
        } else {
            Ok(())
        };
        let failed = written.is_err();
        if failed {
            self.down.clear();
            Envelope { failed: true, ..envelope }.write(&mut self.down);
        }
        let length = self.broadcast_packets(envelope)?;
        if let Err(words) = written {
            return Err(NetError::Worker(words));
        }
        self.traffic.download_bytes += length * self.placement.workers as u64;
        let wrong = |source| NetError::FromServer { iteration: round.iteration, source };
        let packets = std::mem::take(&mut self.down);
        self.read_down(round, frame::behind_envelope(&packets), copy).map_err(wrong)?;
        self.down = packets;
        self.clock.charge(Phase::Communicate);
        Ok(())
    }

    /// The root's message: the iterate, or its difference from the workers' copy.
    fn write_down(
        &mut self,
        round: Round,
        envelope: Envelope,
        server: &Vars<F>,
        copy: &Vars<F>,
    ) -> Result<(), String> {
        let k = round.iteration;
        self.down.clear();
        envelope.write(&mut self.down);
        for block in round.blocks().iter() {
            let key = down_key(self.setting.seed, round, block, 0);
            let v = server.block(block);
            let written = match &mut self.links.down {
                Downlink::Difference(compressors) => {
                    let difference = self.direction.block_mut(block);
                    difference.copy_from_slice(v);
                    add_scaled(difference, -F::one(), copy.block(block));
                    compressors[block as usize].0.encode(difference, key, &mut self.down)
                }
                _ => Dense { dim: v.len() }.encode(v, key, &mut self.down),
            };
            written
                .map_err(|source| format!("rank 0, iteration {k}: {}", overflow(block, source)))?;
        }
        self.write_warm_factors(round)
            .map_err(|source| format!("rank 0, iteration {k}: a factor of low rank: {source}"))?;
        self.clock.charge(Phase::Server);
        Ok(())
    }

    /// The workers' copy from the root's packets, on every rank.
    fn read_down(
        &mut self,
        round: Round,
        mut packets: &[u8],
        copy: &mut Vars<F>,
    ) -> Result<(), DecodeError> {
        for block in round.blocks().iter() {
            let packet;
            (packet, packets) = Packet::split(packets)?;
            let key = down_key(self.setting.seed, round, block, 0);
            let out = copy.block_mut(block);
            match &mut self.links.down {
                Downlink::Difference(compressors) => {
                    let (compressor, gain) = &mut compressors[block as usize];
                    compressor.decode_add(packet, key, F::lit(*gain), out)?;
                }
                _ => {
                    out.fill(F::zero());
                    Dense { dim: out.len() }.decode_add(packet, key, F::one(), out)?;
                }
            }
        }
        let packets = self.read_warm_factors(round, packets)?;
        DecodeError::expect("bytes after the last packet", packets.len(), 0)
    }

    /// Broadcasts the message in `down`, counts what this rank handed over, and checks the envelope.
    /// Returns the bytes of the packets behind it.
    pub(super) fn broadcast_packets(&mut self, envelope: Envelope) -> Result<u64, NetError> {
        let cost = self.comm.broadcast(&mut self.down)?;
        self.clock.charge_collective(cost);
        self.wire.1 += cost.bytes;
        let opened = envelope.open(&self.down, "the server")?;
        if opened.failed && !self.comm.is_root() {
            return Err(NetError::Elsewhere);
        }
        self.agreed = self.agreed.and(opened.wishes);
        Ok(opened.rest.len() as u64)
    }

    /// Tells the ranks that await the next broadcast that the run has failed.
    pub(super) fn call_off(&mut self, round: Round) -> Result<(), NetError> {
        self.down.clear();
        Envelope { failed: true, ..self.envelope(round, 0) }.write(&mut self.down);
        self.comm.broadcast(&mut self.down)?;
        Ok(())
    }

    /// Ends iteration k before what all ranks then do together: those whose own part in it was the last message
    /// that they sent learn here if the root found a failure among the messages.
    pub fn settle(&mut self, k: u64) -> Result<(), NetError> {
        let envelope = self.envelope(k.into(), 0);
        self.down.clear();
        if self.comm.is_root() {
            envelope.write(&mut self.down);
        }
        self.comm.broadcast(&mut self.down)?;
        self.clock.skip();
        match envelope.open(&self.down, "the server")?.failed {
            true => Err(NetError::Elsewhere),
            false => Ok(()),
        }
    }

    /// The envelope of a message of this many packets.
    pub(super) fn envelope(&self, round: Round, packets: usize) -> Envelope {
        Envelope {
            iteration: round.iteration,
            round: round.lower,
            failed: false,
            wishes: self.wishes,
            packets: packets as u32,
            fingerprint: self.setting.fingerprint,
        }
    }
}
