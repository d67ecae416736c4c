//! Server and workers: packed vectors go up by one gather, the iterate comes down by one broadcast.

use super::frame::{self, Envelope, FAILED};
use super::memory::Memories;
use super::{Net, NetError, Phase, add_packets};
use crate::compressors::{Compressor, Identity};
use crate::key::{Key, Stream};
use crate::packet::Packet;
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Block, Vars};
use crate::workers::WorkerError;

impl<F: Scalar> Net<'_, F> {
    /// The server's iterate to all workers, uncompressed, into each rank's `copy`: a download.
    pub fn publish(
        &mut self,
        k: u64,
        server: &Vars<F>,
        copy: &mut Vars<F>,
    ) -> Result<(), NetError> {
        self.clock.charge(Phase::Server);
        self.report = self.report();
        let (wire_bytes, length) = self.send_down(k, server, copy)?;
        self.wire.1 += wire_bytes;
        self.traffic.download_bytes += length * self.placement.workers as u64;
        Ok(())
    }

    /// As [`Net::publish`], for an evaluation: not counted as traffic.
    pub fn show(&mut self, k: u64, server: &Vars<F>, copy: &mut Vars<F>) -> Result<(), NetError> {
        self.send_down(k, server, copy).map(|_| ())
    }

    /// Broadcasts the iterate; returns the bytes that this rank handed over, and those of the
    /// packets that a worker receives.
    fn send_down(
        &mut self,
        k: u64,
        server: &Vars<F>,
        copy: &mut Vars<F>,
    ) -> Result<(u64, u64), NetError> {
        let envelope = self.envelope(k, 1);
        let unused = Key::shared(self.seed, Stream::CompressX);
        if self.is_server() {
            self.down.clear();
            envelope.write(&mut self.down);
            for block in Block::ALL {
                Identity {}.encode(server.block(block), unused, &mut self.down);
            }
            self.clock.charge(Phase::Server);
        }
        let cost = self.comm.broadcast(&mut self.down)?;
        self.clock.charge_collective(cost);
        let (flags, mut packets) = envelope.open(&self.down, "the server")?;
        if flags & FAILED != 0 {
            return Err(NetError::Elsewhere);
        }
        let length = packets.len() as u64;
        copy.as_mut_slice().fill(F::zero());
        for block in Block::ALL {
            let wrong = |source| NetError::Decode { worker: 0, iteration: k, source };
            let packet;
            (packet, packets) = Packet::split(packets).map_err(wrong)?;
            let out = copy.block_mut(block);
            Identity {}.decode_add(packet, unused, F::one(), out).map_err(wrong)?;
        }
        if !packets.is_empty() {
            let problem = format!("the server sent {} bytes too many", packets.len());
            return Err(NetError::Frame { iteration: k, problem });
        }
        self.clock.charge(Phase::Communicate);
        Ok((cost.bytes, length))
    }

    /// (1/n) sum_i C(v_i) at the server, summed in worker order; `None` elsewhere.
    ///
    /// `compute(draw, v)` writes the vector v_i of hosted worker i = `draw.worker` over `v`.
    pub fn mean_at_server(
        &mut self,
        k: u64,
        compute: impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> Result<Option<&Vars<F>>, NetError> {
        self.send_up(k, compute, None)?;
        self.receive(k)
    }

    /// Computes and packs every hosted worker's vector, or with `memories` its difference from the
    /// worker's memory, and gathers the packets.
    pub(super) fn send_up(
        &mut self,
        k: u64,
        mut compute: impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
        mut memories: Option<&mut Memories<F>>,
    ) -> Result<(), NetError> {
        let hosted = self.hosted();
        let envelope = self.envelope(k, hosted.len());
        self.up.clear();
        envelope.write(&mut self.up);
        frame::write_report(self.report, &mut self.up);
        for worker in hosted {
            let draw = Draw { seed: self.seed, worker, iteration: k };
            match compute(draw, &mut self.direction) {
                Ok(losses) => frame::write_losses(losses, &mut self.up),
                Err(error) => {
                    self.up.clear();
                    Envelope { flags: FAILED, ..envelope }.write(&mut self.up);
                    let rank = self.comm.rank();
                    let words = format!("rank {rank}, worker {worker}, iteration {k}: {error}");
                    self.up.extend(words.bytes());
                    break;
                }
            }
            self.clock.charge(Phase::Compute);
            if let Some(memories) = &mut memories {
                memories.subtract(draw, &mut self.direction);
            }
            let start = self.up.len();
            for (block, compressor) in Block::ALL.into_iter().zip(&mut self.compressors) {
                compressor.encode(
                    self.direction.block(block),
                    block_key(draw, block),
                    &mut self.up,
                );
            }
            if let Some(memories) = &mut memories {
                (memories.follow(&mut self.compressors, draw, &self.up[start..]))
                    .map_err(|source| NetError::Decode { worker, iteration: k, source })?;
            }
            self.clock.charge(Phase::Compress);
        }
        let cost = self.comm.gather(&self.up, &mut self.inbox)?;
        self.wire.0 += cost.bytes;
        self.clock.charge_collective(cost);
        Ok(())
    }

    /// At the server, the mean of what [`Net::send_up`] gathered.
    pub(super) fn receive(&mut self, k: u64) -> Result<Option<&Vars<F>>, NetError> {
        if !self.is_server() {
            return Ok(None);
        }
        let workers = self.placement.workers;
        let share = [F::lit(1.0 / workers as f64); 3];
        let (mut losses, mut upload_bytes) = (Losses::default(), 0);
        self.mean.as_mut_slice().fill(F::zero());
        let mut failure = None;
        for (rank, message) in self.inbox.messages().enumerate() {
            let hosted = self.placement.hosted(rank);
            let envelope = self.envelope(k, hosted.len());
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
            for worker in hosted {
                let local;
                (local, rest) = frame::read_losses(rest).ok_or_else(short)?;
                losses.upper += local.upper / workers as f64;
                losses.lower += local.lower / workers as f64;
                let draw = Draw { seed: self.seed, worker, iteration: k };
                let before = rest.len();
                rest = add_packets(&mut self.compressors, draw, rest, share, &mut self.mean)
                    .map_err(|source| NetError::Decode { worker, iteration: k, source })?;
                upload_bytes += (before - rest.len()) as u64;
            }
            if !rest.is_empty() {
                let problem = format!("rank {rank} sent {} bytes too many", rest.len());
                return Err(NetError::Frame { iteration: k, problem });
            }
        }
        if let Some(words) = failure {
            self.call_off(k)?;
            return Err(NetError::Worker(words));
        }
        self.losses = losses;
        self.traffic.upload_bytes += upload_bytes;
        self.clock.charge(Phase::Server);
        Ok(Some(&self.mean))
    }

    /// Tells the ranks that await the next broadcast that the run has failed.
    fn call_off(&mut self, k: u64) -> Result<(), NetError> {
        self.down.clear();
        Envelope { flags: FAILED, ..self.envelope(k, 0) }.write(&mut self.down);
        self.comm.broadcast(&mut self.down)?;
        Ok(())
    }

    /// The envelope of a message at iteration k with the vectors of this many workers.
    fn envelope(&self, k: u64, workers: usize) -> Envelope {
        Envelope {
            iteration: k,
            flags: 0,
            packets: (Block::ALL.len() * workers) as u32,
            fingerprint: self.fingerprint,
        }
    }

    /// Sum over the workers of `local(worker, out)` [length], made in worker order and known to
    /// every rank. For evaluations: not counted as traffic.
    pub fn sum_over_workers(
        &mut self,
        sum: &mut [f64],
        mut local: impl FnMut(usize, &mut [f64]),
    ) -> Result<(), NetError> {
        self.up.clear();
        for worker in self.hosted() {
            local(worker, sum);
            self.up.extend_from_slice(bytemuck::cast_slice(sum));
        }
        self.comm.gather(&self.up, &mut self.inbox)?;
        if self.is_server() {
            sum.fill(0.0);
            for (rank, message) in self.inbox.messages().enumerate() {
                let expected = self.placement.hosted(rank).len() * size_of_val(sum);
                if message.len() != expected {
                    let problem =
                        format!("rank {rank} sent {} of {expected} bytes to sum", message.len());
                    return Err(NetError::Frame { iteration: 0, problem });
                }
                for part in message.chunks_exact(size_of_val(sum)) {
                    for (sum, bytes) in sum.iter_mut().zip(part.chunks_exact(f64::BYTES)) {
                        *sum += bytemuck::pod_read_unaligned::<f64>(bytes);
                    }
                }
            }
            self.down.clear();
            self.down.extend_from_slice(bytemuck::cast_slice(sum));
        }
        self.comm.broadcast(&mut self.down)?;
        for (sum, bytes) in sum.iter_mut().zip(self.down.chunks_exact(f64::BYTES)) {
            *sum = bytemuck::pod_read_unaligned(bytes);
        }
        self.clock.skip();
        Ok(())
    }
}

impl<F: Scalar> Net<'_, F> {
    /// The values of every rank at the server, in rank order. Not counted as traffic.
    pub fn values_of_ranks(&mut self, mine: &[f64]) -> Result<Option<Vec<Vec<f64>>>, NetError> {
        self.comm.gather(bytemuck::cast_slice(mine), &mut self.inbox)?;
        let read = |message: &[u8]| {
            message.chunks_exact(f64::BYTES).map(bytemuck::pod_read_unaligned).collect()
        };
        Ok(self.is_server().then(|| self.inbox.messages().map(read).collect()))
    }
}

/// Key of the compressor's draws for one variable of a worker's message.
pub(super) fn block_key(draw: Draw, block: Block) -> Key {
    draw.key(match block {
        Block::X => Stream::CompressX,
        Block::Y => Stream::CompressY,
        Block::Z => Stream::CompressZ,
    })
}
