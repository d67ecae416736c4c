//! Packets that may be summed number by number, and the ordered reduction over ranks: rank r gets
//! segment r of every worker's numbers, sums them in worker order, and sends the sums to all.
//!
//! No rank receives everything, and no bit depends on the number of ranks.

use super::frame;
use super::{Net, NetError, Phase, Round};
use crate::packet::{self, DecodeError, Header, Packet};
use crate::problems::Losses;
use crate::scalar::Scalar;
use crate::vars::Block;

/// Sums of the packets of x, y and z.
#[derive(Debug)]
pub(super) struct Sums<F> {
    headers: [Option<Header>; 3],
    values: [Vec<F>; 3],
    /// The numbers of this rank's workers, one worker after the other.
    mine: Vec<u8>,
    /// The sums of this rank's segment.
    segment: Vec<F>,
}

impl<F> Default for Sums<F> {
    fn default() -> Self {
        let none = || [(); 3];
        Self {
            headers: none().map(|()| None),
            values: none().map(|()| vec![]),
            mine: vec![],
            segment: vec![],
        }
    }
}

impl<F: Scalar> Sums<F> {
    pub fn clear(&mut self) {
        self.headers = [None; 3];
    }

    /// Adds the next worker's packet of `count` raw values.
    pub fn add(
        &mut self,
        block: Block,
        packet: Packet<'_>,
        count: usize,
    ) -> Result<(), DecodeError> {
        let values = packet::values::<F>(packet.payload, count)?;
        let sums = &mut self.values[block as usize];
        match self.headers[block as usize] {
            None => {
                self.headers[block as usize] = Some(packet.header);
                sums.clear();
                sums.extend(values);
            }
            Some(first) => {
                packet.header.expect(first)?;
                sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
            }
        }
        Ok(())
    }

    /// Appends the packet of a variable's sum.
    pub fn write(&self, block: Block, out: &mut Vec<u8>) {
        if let Some(header) = self.headers[block as usize] {
            let sums = &self.values[block as usize];
            packet::write(out, header, |out| out.extend_from_slice(bytemuck::cast_slice(sums)));
        }
    }
}

impl<F: Scalar> Net<'_, F> {
    /// As [`Net::sum_at_root`], on every rank, for packets that may all be summed.
    pub(super) fn sum_in_segments(&mut self, round: Round) -> Result<(), NetError> {
        let own = self.split_own(round)?;
        let total = own.iter().map(|(_, header)| header.count).sum();
        self.send_segments(total)?;
        self.add_segments(round, total)?;
        self.send_sums(total)?;
        self.down.clear();
        let mut sums = self.inbox.bytes();
        for &(_, header) in &own {
            let values;
            (values, sums) = sums.split_at(header.count * F::BYTES);
            packet::write(&mut self.down, header, |out| out.extend_from_slice(values));
        }
        let bytes = (self.down.len() * self.placement.workers) as u64;
        self.traffic.upload_bytes += bytes;
        self.traffic.download_bytes += bytes;
        let message = std::mem::take(&mut self.down);
        self.read_sums(round, &message)?;
        self.down = message;
        self.clock.charge(Phase::Server);
        Ok(())
    }

    /// Copies the numbers of this rank's packets to `sums.mine`, and returns the variables that are
    /// sent with the headers that all workers' packets have.
    fn split_own(&mut self, round: Round) -> Result<Vec<(Block, Header)>, NetError> {
        self.sums.mine.clear();
        let hosted = self.hosted();
        let counts = self.due(round).map(|block| {
            let count = self.links.up[block as usize].coder.summable().unwrap_or(0);
            (block, Header { count, ..Header::default() })
        });
        let mut own: Vec<(Block, Header)> = counts.collect();
        if frame::failed(&self.up) {
            let total: usize = own.iter().map(|(_, header)| header.count).sum();
            self.sums.mine.resize(hosted.len() * total * F::BYTES, 0);
            return Ok(own);
        }
        let mut rest = &self.up[frame::packets_at(hosted.len())..];
        for worker in hosted {
            let wrong = |source| NetError::Decode { worker, iteration: round.iteration, source };
            for (_, header) in &mut own {
                let packet;
                (packet, rest) = Packet::split(rest).map_err(wrong)?;
                let length = header.count * F::BYTES;
                DecodeError::expect("payload bytes", packet.payload.len(), length)
                    .map_err(wrong)?;
                self.sums.mine.extend_from_slice(packet.payload);
                *header = packet.header;
            }
        }
        Ok(own)
    }

    /// The numbers of segment `rank` of `total`.
    fn segment(&self, rank: usize, total: usize) -> std::ops::Range<usize> {
        let ranks = self.placement.ranks;
        total * rank / ranks..total * (rank + 1) / ranks
    }

    /// To rank r: the envelope, and segment r of each hosted worker's numbers; to the root the report
    /// and the losses, too.
    fn send_segments(&mut self, total: usize) -> Result<(), NetError> {
        let (me, ranks) = (self.comm.rank(), self.placement.ranks);
        let scalars = frame::packets_at(self.hosted().len());
        self.outbox.clear();
        for rank in 0..ranks {
            let segment = self.segment(rank, total);
            let (sums, up) = (&self.sums, &self.up);
            self.outbox.push(|out| {
                let head = if rank == 0 { scalars } else { frame::ENVELOPE };
                let start = out.len();
                out.extend_from_slice(&up[..head.min(up.len())]);
                out.resize(start + head, 0);
                for worker in sums.mine.chunks_exact((total * F::BYTES).max(1)) {
                    out.extend_from_slice(
                        &worker[segment.start * F::BYTES..segment.end * F::BYTES],
                    );
                }
            });
        }
        let mine = self.segment(me, total).len() * F::BYTES;
        let lengths: Vec<usize> = (0..ranks)
            .map(|rank| {
                let hosted = self.placement.hosted(rank).len();
                let head = if me == 0 { frame::packets_at(hosted) } else { frame::ENVELOPE };
                head + hosted * mine
            })
            .collect();
        let cost = self.comm.exchange(&self.outbox, &lengths, &mut self.inbox)?;
        self.wire.0 += cost.bytes;
        self.clock.charge_collective(cost);
        Ok(())
    }

    /// Sums this rank's segment in worker order. If a worker failed, all ranks stop here.
    fn add_segments(&mut self, round: Round, total: usize) -> Result<(), NetError> {
        let me = self.comm.rank();
        let length = self.segment(me, total).len();
        let inbox = std::mem::take(&mut self.inbox);
        let mut segment = std::mem::take(&mut self.sums.segment);
        segment.clear();
        segment.resize(length, F::zero());
        let mut losses = Losses::default();
        let mut failed = false;
        for (rank, message) in inbox.messages().enumerate() {
            let hosted = self.placement.hosted(rank);
            let envelope = self.envelope(round, self.due(round).count() * hosted.len());
            let opened = envelope.open(message, &format!("rank {rank}"))?;
            failed |= opened.failed;
            // Every rank opens every rank's envelope.
            self.agreed = self.agreed.and(opened.wishes);
            let mut rest = opened.rest;
            if me == 0 {
                rest = self.read_scalars(round, rank, rest, &mut losses)?;
            }
            for worker in rest.chunks_exact((length * F::BYTES).max(1)) {
                for (sum, v) in segment.iter_mut().zip(worker.chunks_exact(F::BYTES)) {
                    *sum += bytemuck::pod_read_unaligned::<F>(v);
                }
            }
        }
        self.sums.segment = segment;
        self.inbox = inbox;
        if failed {
            return Err(self.tell_failure()?);
        }
        self.losses.update(losses);
        self.clock.charge(Phase::Server);
        Ok(())
    }

    /// What the lowest rank that failed has to say; every rank calls this.
    fn tell_failure(&mut self) -> Result<NetError, NetError> {
        let words = if frame::failed(&self.up) { frame::behind_envelope(&self.up) } else { &[] };
        self.comm.gather(words, &mut self.inbox)?;
        let mut all = self.inbox.messages();
        Ok(match self.comm.is_root().then(|| all.find(|words| !words.is_empty())).flatten() {
            Some(words) => NetError::Worker(String::from_utf8_lossy(words).into_owned()),
            None => NetError::Elsewhere,
        })
    }

    /// The sums of every segment to all ranks: the inbox then holds all sums in order.
    fn send_sums(&mut self, total: usize) -> Result<(), NetError> {
        self.outbox.clear();
        for _ in 0..self.placement.ranks {
            let sums = &self.sums.segment;
            self.outbox.push(|out| out.extend_from_slice(bytemuck::cast_slice(sums)));
        }
        let lengths: Vec<usize> = (0..self.placement.ranks)
            .map(|rank| self.segment(rank, total).len() * F::BYTES)
            .collect();
        let cost = self.comm.exchange(&self.outbox, &lengths, &mut self.inbox)?;
        self.wire.1 += cost.bytes;
        self.clock.charge_collective(cost);
        Ok(())
    }
}
