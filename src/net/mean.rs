//! The way up: the workers' vectors to the server, which gets an estimate of their mean.

use super::frame::{self, Envelope};
use super::link::Collective;
use super::{Net, NetError, Phase, Round, overflow};
use crate::compressors::Coder;
use crate::packet::Packet;
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Block, Vars};
use crate::workers::WorkerError;

impl<F: Scalar> Net<'_, F> {
    /// D^, the estimate of (1/n) sum_i v_i that the links' compressors and feedback allow, where the
    /// server's step is made; `None` elsewhere. Without compression it is the mean itself.
    ///
    /// `compute(draw, v)` writes the vector v_i of hosted worker i = `draw.worker` over `v`. Of both
    /// v_i and D^ only the round's variables count.
    pub fn mean_at_server(
        &mut self,
        round: impl Into<Round>,
        compute: impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> Result<Option<&Vars<F>>, NetError> {
        let round = round.into();
        self.begin(round);
        self.pack(round, compute)?;
        match self.links.collective {
            Collective::Star => self.sum_at_root(round)?,
            Collective::Segments => self.sum_in_segments(round)?,
        }
        self.send_right_factors(round)?;
        if !self.is_server() {
            return Ok(None);
        }
        for block in round.blocks().iter() {
            if self.links.up[block as usize].fed {
                self.links.feedback.estimate(block, self.mean.block_mut(block));
            }
        }
        self.clock.charge(Phase::Server);
        Ok(Some(&self.mean))
    }

    /// The variables that are sent in a round.
    pub(super) fn due(&self, round: Round) -> impl Iterator<Item = Block> + use<F> {
        let due = self.links.up.each_ref().map(|link| link.due(round.iteration));
        round.blocks().iter().filter(move |&block| due[block as usize])
    }

    /// This worker's share in a mean.
    pub(super) fn share(&self) -> f64 {
        1.0 / self.placement.workers as f64
    }

    /// The coordinates of a worker's draws in a round.
    pub(super) fn draw(&self, worker: usize, round: Round) -> Draw {
        round.draw(self.setting.seed, worker)
    }

    /// Writes the rank's message to `up`: the losses of all hosted workers, then their packets.
    fn pack(
        &mut self,
        round: Round,
        mut compute: impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> Result<(), NetError> {
        let envelope = self.envelope(round, self.due(round).count() * self.hosted().len());
        self.up.clear();
        envelope.write(&mut self.up);
        frame::write_report(self.report, &mut self.up);
        self.up.resize(frame::packets_at(self.hosted().len()), 0);
        for worker in self.hosted() {
            let packed = self.pack_worker(round, worker, &mut compute);
            if !self.pass_on(packed, worker, envelope)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether a worker's packets could be made. If not because of the worker's numbers, the message
    /// in `up` is replaced by words that say so.
    pub(super) fn pass_on(
        &mut self,
        packed: Result<(), NetError>,
        worker: usize,
        envelope: Envelope,
    ) -> Result<bool, NetError> {
        match packed {
            Ok(()) => Ok(true),
            Err(NetError::Worker(words)) => {
                let (rank, k) = (self.comm.rank(), envelope.iteration);
                self.up.clear();
                Envelope { failed: true, ..envelope }.write(&mut self.up);
                let words = format!("rank {rank}, worker {worker}, iteration {k}: {words}");
                self.up.extend(words.bytes());
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    fn pack_worker(
        &mut self,
        round: Round,
        worker: usize,
        compute: &mut impl FnMut(Draw, &mut Vars<F>) -> Result<Losses, WorkerError>,
    ) -> Result<(), NetError> {
        let draw = self.draw(worker, round);
        let losses = compute(draw, &mut self.direction);
        let losses = losses.map_err(|error| NetError::Worker(error.to_string()))?;
        let place = worker - self.hosted().start;
        frame::put_losses(losses, place, &mut self.up);
        self.clock.charge(Phase::Compute);
        for block in round.blocks().iter() {
            self.pack_block(draw, block)?;
        }
        self.clock.charge(Phase::Compress);
        Ok(())
    }

    /// One variable of a worker's vector: v_i by the feedback, its packet, and what the worker
    /// remembers of it.
    fn pack_block(&mut self, draw: Draw, block: Block) -> Result<(), NetError> {
        let Draw { worker, iteration, .. } = draw;
        let wrong = |source| NetError::Decode { worker, iteration, source };
        let v = self.direction.block_mut(block);
        let feedback = &mut self.links.feedback;
        let link = &mut self.links.up[block as usize];
        if link.fed {
            feedback.target(worker, block, v);
        }
        if !link.due(iteration) {
            return feedback.follow(worker, block, v, None).map_err(wrong);
        }
        let key = link.key(draw, block);
        let start = self.up.len();
        match &mut link.coder {
            Coder::Packet(compressor) => {
                (compressor.encode(v, key, &mut self.up))
                    .map_err(|source| NetError::Worker(overflow(block, source)))?;
                if !link.fed {
                    return Ok(());
                }
                let (packet, _) = Packet::split(&self.up[start..]).map_err(wrong)?;
                let gain = F::lit(link.gain);
                let mut sent =
                    |scale, out: &mut [F]| compressor.decode_add(packet, key, scale * gain, out);
                feedback.follow(worker, block, v, Some(&mut sent)).map_err(wrong)
            }
            Coder::LowRank(coder) => {
                coder.project(worker - self.placement.hosted(self.comm.rank()).start, v);
                (coder.left.encode(key, &mut self.up))
                    .map_err(|source| NetError::Worker(overflow(block, source)))
            }
        }
    }
}
