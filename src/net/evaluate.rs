//! What ranks tell each other for evaluations and reports. Not counted as traffic.

use super::{Net, NetError};
use crate::compressors::{Compressor, Dense};
use crate::key::{Key, Stream};
use crate::packet::Packet;
use crate::scalar::Scalar;
use crate::vars::{Block, Vars};

impl<F: Scalar> Net<'_, F> {
    /// The server's iterate to all ranks, uncompressed. Where every rank has it, the ranks compare
    /// what they have.
    pub fn show(&mut self, k: u64, server: &Vars<F>, copy: &mut Vars<F>) -> Result<(), NetError> {
        if self.is_replicated() {
            copy.as_mut_slice().copy_from_slice(server.as_slice());
            return self.compare(k, server);
        }
        let envelope = self.envelope(k.into(), Block::ALL.len());
        let unused = Key::shared(self.setting.seed, Stream::DownX);
        self.down.clear();
        if self.comm.is_root() {
            envelope.write(&mut self.down);
            // A run that diverged is evaluated, too: whatever the numbers are, they are shown.
            for block in Block::ALL {
                Dense::write(server.block(block), &mut self.down);
            }
        }
        self.comm.broadcast(&mut self.down)?;
        let opened = envelope.open(&self.down, "the server")?;
        let mut packets = opened.rest;
        if opened.failed {
            return Err(NetError::Elsewhere);
        }
        copy.as_mut_slice().fill(F::zero());
        for block in Block::ALL {
            let wrong = |source| NetError::FromServer { iteration: k, source };
            let packet;
            (packet, packets) = Packet::split(packets).map_err(wrong)?;
            let out = copy.block_mut(block);
            Dense { dim: out.len() }.decode_add(packet, unused, F::one(), out).map_err(wrong)?;
        }
        Ok(())
    }

    /// Fails on every rank if one of them has another iterate than the root.
    fn compare(&mut self, k: u64, server: &Vars<F>) -> Result<(), NetError> {
        self.comm.gather(&server.hash().to_le_bytes(), &mut self.inbox)?;
        self.down.clear();
        if self.comm.is_root() {
            let mut all = self.inbox.messages();
            let root = all.next();
            let apart = all.position(|hash| Some(hash) != root).map_or(0, |others| others + 1);
            self.down.extend((apart as u64).to_le_bytes());
        }
        self.comm.broadcast(&mut self.down)?;
        match self.down.first_chunk().map(|&word| u64::from_le_bytes(word)) {
            Some(0) => Ok(()),
            Some(rank) => Err(NetError::Apart { iteration: k, rank: rank as usize }),
            None => {
                let problem = "the server's comparison is missing".into();
                Err(NetError::Frame { iteration: k, problem })
            }
        }
    }

    /// Sum over the workers of `local(worker, out)` [length], made in worker order and known to
    /// every rank.
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
        if self.comm.is_root() {
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

    /// The root's values on every rank.
    pub fn values_of_root(&mut self, values: &mut Vec<f64>) -> Result<(), NetError> {
        self.down.clear();
        if self.comm.is_root() {
            self.down.extend_from_slice(bytemuck::cast_slice(values));
        }
        self.comm.broadcast(&mut self.down)?;
        let numbers = self.down.chunks_exact(f64::BYTES).map(bytemuck::pod_read_unaligned::<f64>);
        values.clear();
        values.extend(numbers);
        Ok(())
    }

    /// The values of every rank at the root, in rank order.
    pub fn values_of_ranks(&mut self, mine: &[f64]) -> Result<Option<Vec<Vec<f64>>>, NetError> {
        self.comm.gather(bytemuck::cast_slice(mine), &mut self.inbox)?;
        let read = |message: &[u8]| {
            message.chunks_exact(f64::BYTES).map(bytemuck::pod_read_unaligned).collect()
        };
        Ok(self.comm.is_root().then(|| self.inbox.messages().map(read).collect()))
    }
}
