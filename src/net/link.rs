//! How the variables of a run travel: what the config's `compressor`, `feedback`, `downlink` and
//! `wire` come to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Neighbours, Round};
use crate::archive::{Archive, Holder};
use crate::compressors::{Coder, Compressor, Dense};
use crate::feedback::Feedback;
use crate::key::{Key, Stream};
use crate::problems::Draw;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims};

/// The way of one variable to the server.
pub struct Uplink<F> {
    /// Codes what is sent.
    pub coder: Coder<F>,
    /// C is sent multiplied by this.
    pub gain: f64,
    /// Sent in every N-th iteration.
    pub every: u64,
    /// Whether feedback looks after it. Not where few entries are other than zero and those are sent
    /// as they are: nothing is lost that feedback could make up for.
    pub fed: bool,
}

impl<F: Scalar> Uplink<F> {
    /// Whether the variable is sent in iteration k: the last of each `every`.
    pub fn due(&self, k: u64) -> bool {
        (k + 1).is_multiple_of(self.every)
    }

    /// Bytes of a worker's packets by iteration, at most; a mean over the iterations.
    pub fn mean_bytes(&self) -> f64 {
        self.coder.max_packets() as f64 / self.every as f64
    }

    /// Key of a worker's draws; common to all workers if their packets may be summed.
    pub(super) fn key(&self, draw: Draw, block: Block) -> Key {
        let key =
            draw.key(stream([Stream::CompressX, Stream::CompressY, Stream::CompressZ], block));
        if self.coder.summable().is_some() { key.worker(0) } else { key }
    }
}

/// The stream of a variable among those of x, y and z.
pub(super) fn stream(streams: [Stream; 3], block: Block) -> Stream {
    streams[block as usize]
}

/// Key of what the server draws for one of its packets; `part` tells them apart.
pub(super) fn down_key(seed: u64, round: Round, block: Block, part: usize) -> Key {
    let streams = [Stream::DownX, Stream::DownY, Stream::DownZ];
    round.draw(seed, part).key(stream(streams, block))
}

/// What comes down to the workers.
pub enum Downlink<F> {
    /// The server's iterate as it is.
    Dense,
    /// The compressed difference between the server's iterate and the workers' copy of it, which the
    /// server knows: what is lost stays in the next difference (EF21-P: Gruntkowska, Tyurin,
    /// Richtarik, ICML 2023). Each compressor with the factor that makes it contract.
    Difference([(Box<dyn Compressor<F>>, f64); 3]),
    /// The sums of the workers' packets; every rank makes the server's step from them.
    Sum,
}

/// How packets are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collective {
    /// A gather to the server and a broadcast from it.
    #[default]
    Star,
    /// Rank r sums segment r of all payloads in worker order and sends the sums to all ranks.
    Segments,
}

/// How the variables of a run travel.
pub struct Links<F> {
    /// For x, y and z.
    pub up: [Uplink<F>; 3],
    /// What the workers and the server remember.
    pub feedback: Box<dyn Feedback<F>>,
    /// What comes down.
    pub down: Downlink<F>,
    /// How packets are summed.
    pub collective: Collective,
    /// What a run without a server has in place of all this.
    pub neighbours: Option<Neighbours<F>>,
}

/// The rounds of an iteration: how often some of the variables travel together.
pub type Rounds = [(u64, Blocks)];

/// Bytes of the packet of an uncompressed variable.
pub(super) fn dense_packet<F: Scalar>(dims: Dims, block: Block) -> u64 {
    Compressor::<F>::max_packet(&Dense { dim: dims.blocks()[block as usize] }) as u64
}

/// Bytes of an iteration of these rounds, in each of which a variable takes so many.
pub(super) fn bytes_of(rounds: &Rounds, packet: impl Fn(Block) -> u64) -> u64 {
    rounds.iter().map(|(times, blocks)| times * blocks.iter().map(&packet).sum::<u64>()).sum()
}

/// Bytes by the plan, for packets as long as they may become, with their headers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// A worker's upload in an iteration, on average.
    pub upload: f64,
    /// What a worker receives in an iteration, on average.
    pub download: f64,
    /// A worker's largest upload in one iteration.
    pub largest_upload: u64,
    /// The server's largest message.
    pub largest_download: u64,
}

impl<F: Scalar> Links<F> {
    /// Shows to `archive` what feedback and coders keep.
    pub fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.feedback.state(of, archive);
        if of != Holder::Server {
            return;
        }
        for link in &mut self.up {
            if let Coder::LowRank(coder) = &mut link.coder {
                coder.state(archive);
            }
        }
    }

    /// Numbers that feedback and coders keep for each hosted worker, and at the server.
    pub fn numbers(&self) -> [usize; 2] {
        let [worker, server] = self.feedback.numbers();
        let kept = self.up.iter().map(|link| match &link.coder {
            Coder::Packet(_) => 0,
            Coder::LowRank(coder) => coder.numbers(),
        });
        [worker + kept.sum::<usize>(), server]
    }

    /// Bytes of a worker's packets in an iteration of these rounds, were nothing compressed: all
    /// entries of a variable, or those that a worker's vector has ([`Uplink::fed`]).
    pub fn dense_upload(&self, dims: Dims, rounds: &Rounds) -> u64 {
        bytes_of(rounds, |block| match &self.up[block as usize] {
            Uplink { fed: true, .. } => dense_packet::<F>(dims, block),
            link => link.coder.max_packets() as u64,
        })
    }

    /// Bytes of the server's packets in an iteration of these rounds, were nothing compressed.
    pub fn dense_download(dims: Dims, rounds: &Rounds) -> u64 {
        bytes_of(rounds, |block| dense_packet::<F>(dims, block))
    }

    /// Bytes of a run of these rounds on variables of these lengths.
    pub fn costs(&self, dims: Dims, rounds: &Rounds) -> Costs {
        let mut all = Costs::default();
        for &(times, blocks) in rounds {
            let one = self.costs_of_round(dims, blocks);
            all.upload += times as f64 * one.upload;
            all.download += times as f64 * one.download;
            all.largest_upload = all.largest_upload.max(one.largest_upload);
            all.largest_download = all.largest_download.max(one.largest_download);
        }
        all
    }

    fn costs_of_round(&self, dims: Dims, blocks: Blocks) -> Costs {
        let mut costs = Costs::default();
        for block in blocks.iter() {
            let link = &self.up[block as usize];
            let (longest, mean) = (link.coder.max_packets() as u64, link.mean_bytes());
            let dense = dense_packet::<F>(dims, block);
            costs.upload += mean;
            costs.largest_upload += longest;
            costs.largest_download += dense;
            costs.download += match &self.down {
                Downlink::Dense => dense as f64,
                Downlink::Difference(all) => all[block as usize].0.max_packet() as f64,
                Downlink::Sum if link.coder.summable().is_some() => mean,
                Downlink::Sum => dense as f64 / link.every as f64,
            };
            if let Coder::LowRank(_) = link.coder {
                costs.download += mean;
                costs.largest_download += longest;
            }
        }
        costs
    }
}
