//! What agents without a server tell rank 0: of every iteration what is reported in every method, and for
//! evaluations the mean of their iterates. Not counted as traffic.

use super::Gossip;
use crate::net::{Net, NetError, Round, frame};
use crate::problems::Losses;
use crate::scalar::Scalar;
use crate::vars::{Block, Vars, norm};

/// What a directed link carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkBytes {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// Lengths of its packets.
    pub bytes: u64,
}

impl<F: Scalar> Net<'_, F> {
    /// The end of an iteration: losses, times, bytes and wishes to rank 0, and to all whether they go on.
    pub fn close(&mut self, k: u64) -> Result<(), NetError> {
        let envelope = self.exchange_envelope(k, 0);
        self.up.clear();
        match self.gossip.failure.take() {
            Some(words) if !words.is_empty() => {
                frame::Envelope { failed: true, ..envelope }.write(&mut self.up);
                self.up.extend(words.bytes());
            }
            _ => {
                envelope.write(&mut self.up);
                frame::write_report(self.report, &mut self.up);
                let hosted = self.hosted();
                self.up.resize(frame::packets_at(hosted.len()), 0);
                for (place, agent) in hosted.enumerate() {
                    let Losses { upper, lower } = self.gossip.losses[place];
                    let weight = self.gossip.importance.of(agent);
                    let weighted = Losses { upper: weight * upper, lower: weight * lower };
                    frame::put_losses(weighted, place, &mut self.up);
                    self.up.extend(self.gossip.sent(agent).to_le_bytes());
                }
            }
        }
        self.gather_up()?;
        self.down.clear();
        if self.comm.is_root() {
            self.read_reports(k)?;
            self.exchange_envelope(k, 0).write(&mut self.down);
        }
        self.broadcast_packets(envelope)?;
        Ok(())
    }

    /// At the root.
    fn read_reports(&mut self, k: u64) -> Result<(), NetError> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut losses = Losses::default();
        let mut sent = 0;
        for (rank, message) in inbox.messages().enumerate() {
            let envelope = self.exchange_envelope(k, 0);
            let opened = envelope.open(message, &format!("rank {rank}"))?;
            if opened.failed {
                self.call_off(Round::from(k))?;
                return Err(NetError::Worker(String::from_utf8_lossy(opened.rest).into_owned()));
            }
            self.wishes = self.wishes.and(opened.wishes);
            let mut rest = self.read_scalars(k.into(), rank, opened.rest, &mut losses)?;
            for _ in self.placement.hosted(rank) {
                let Some((bytes, behind)) = rest.split_first_chunk() else {
                    let problem = format!("rank {rank} sent a report without its bytes");
                    return Err(NetError::Frame { iteration: k, problem });
                };
                sent += u64::from_le_bytes(*bytes);
                rest = behind;
            }
        }
        self.inbox = inbox;
        self.losses.update(losses);
        self.traffic.upload_bytes = sent;
        self.traffic.download_bytes = sent;
        Ok(())
    }

    /// The mean of the agents' iterates, weighted as mixing conserves it, into every rank's `shown`; and
    /// the consensus errors of x, y and z: the square roots of sum_i lambda_i |v_i - mean|^2.
    pub fn show_mean(
        &mut self,
        agents: &[Vars<F>],
        shown: &mut Vars<F>,
    ) -> Result<[f64; 3], NetError> {
        let first = self.hosted().start;
        let Gossip { lambda, .. } = &self.gossip;
        let lambda = lambda.clone();
        let mut mean = vec![0.0; shown.dims().total()];
        self.sum_over_workers(&mut mean, |agent, out| {
            for (out, v) in out.iter_mut().zip(agents[agent - first].as_slice()) {
                *out = lambda[agent] * v.wide();
            }
        })?;
        let mut wide = shown.wide();
        wide.as_mut_slice().copy_from_slice(&mean);
        for (shown, mean) in shown.as_mut_slice().iter_mut().zip(&mean) {
            *shown = F::lit(*mean);
        }
        let mut errors = [0.0; 3];
        self.sum_over_workers(&mut errors, |agent, out| {
            for (out, block) in out.iter_mut().zip(Block::ALL) {
                let v = agents[agent - first].block(block).iter();
                let away: Vec<f64> = v.zip(wide.block(block)).map(|(v, m)| v.wide() - m).collect();
                *out = lambda[agent] * norm(&away).powi(2);
            }
        })?;
        Ok(errors.map(f64::sqrt))
    }

    /// At the root: each directed link, ascending, with the bytes that it has carried; none where there is
    /// a server.
    pub fn link_bytes(&mut self) -> Result<Vec<LinkBytes>, NetError> {
        if !self.has_neighbours() {
            return Ok(vec![]);
        }
        let Gossip { links, link_bytes, .. } = &self.gossip;
        let each = links.iter().zip(link_bytes);
        // Below 2^53 these are whole numbers.
        let mine: Vec<f64> =
            each.flat_map(|(&(from, to), &bytes)| [from as f64, to as f64, bytes as f64]).collect();
        let all = self.values_of_ranks(&mine)?.unwrap_or_default().concat();
        let link = |values: &[f64]| LinkBytes {
            from: values[0] as usize,
            to: values[1] as usize,
            bytes: values[2] as u64,
        };
        Ok(all.chunks_exact(3).map(link).collect())
    }
}
