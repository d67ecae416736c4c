//! An exchange: packets of the hosted agents, one message for each neighbouring rank, and what is made of
//! those that come.

use super::routes::{self, Term};
use super::{Gossip, Site, Span, Variable};
use crate::comm::{Peer, Work};
use crate::compressors::{Compressor, Dense};
use crate::key::Key;
use crate::net::{Clock, Net, NetError, Phase, Round, frame, overflow};
use crate::packet::DecodeError;
use crate::problems::{Draw, Losses};
use crate::scalar::Scalar;
use crate::vars::{Blocks, add_scaled};
use crate::workers::WorkerError;

/// What a rank does while messages are under way.
type Meanwhile<'w, F> = &'w mut (dyn FnMut(&mut Gossip<F>, &mut Clock) + Send);

impl<F: Scalar> Net<'_, F> {
    /// A hosted agent's vector of a site into the next messages to its neighbours.
    pub fn put(&mut self, k: u64, site: Site, agent: usize, v: &[F]) -> Result<(), NetError> {
        self.enter(k);
        let draw = Draw::first(self.setting.seed, agent, k);
        let Gossip { variables, places, packed, buffer, link_bytes, open, failure, .. } =
            &mut self.gossip;
        if !std::mem::replace(open, true) {
            packed.clear();
            places.iter_mut().for_each(|place| place.used = false);
        }
        let (variable, place) = (&mut variables[site.block as usize], &mut places[site.index()]);
        place.used = true;
        place.spans.resize(variable.routes.known.len(), Span::default());
        if failure.is_some() {
            return Ok(());
        }
        let (start, at) = (packed.len(), variable.routes.place(agent));
        let written = match &mut variable.coding {
            None => Dense { dim: v.len() }.encode(v, site.key(draw), packed),
            Some(coding) => {
                place.copies.prepare(variable.routes.known.len(), variable.dim);
                buffer.clear();
                buffer.extend_from_slice(v);
                add_scaled(buffer, -F::one(), place.copies.of(at));
                coding.compressor.encode(buffer, site.key(draw), packed)
            }
        };
        place.spans[at] = Span { heard: false, bytes: start..packed.len() };
        let length = (packed.len() - start) as u64;
        let first = self.placement.hosted(self.comm.rank()).start;
        for &link in &variable.routes.at(k).heard_on[agent - first] {
            link_bytes[variable.counters[link]] += length;
        }
        if let Err(source) = written {
            self.gossip.fail(self.comm.rank(), draw, &overflow(site.block, source));
        }
        self.clock.charge(Phase::Compress);
        Ok(())
    }

    /// Sends what was put to the neighbours' ranks, and receives what they put.
    pub fn swap(&mut self, k: u64) -> Result<(), NetError> {
        self.exchange(k, None)
    }

    /// [`Net::swap`], and [`Net::compute`] while the messages are under way.
    pub fn swap_and_compute(
        &mut self,
        round: Round,
        mut oracle: impl FnMut(Draw) -> Result<Losses, WorkerError> + Send,
    ) -> Result<(), NetError> {
        let (rank, seed) = (self.comm.rank(), self.setting.seed);
        let hosted = self.hosted();
        self.exchange(
            round.iteration,
            Some(&mut |gossip, clock| {
                // What was before is part of the exchange's cost.
                clock.skip();
                for agent in hosted.clone() {
                    gossip.compute(rank, round.draw(seed, agent), &mut oracle);
                    clock.charge(Phase::Compute);
                }
            }),
        )
    }

    fn exchange(&mut self, k: u64, work: Option<Meanwhile<'_, F>>) -> Result<(), NetError> {
        self.gossip.open = false;
        self.gossip.exchanges += 1;
        self.write_messages(k);
        let Self { comm, gossip, clock, outbox, inbox, .. } = self;
        let [to, from] = [&mut gossip.to, &mut gossip.from].map(std::mem::take);
        let mut work = work.map(|work| || work(gossip, clock));
        let work = work.as_mut().map(|work| work as Work<'_>);
        let cost = comm.neighbours(&to, outbox, &from, inbox, work)?;
        (self.gossip.to, self.gossip.from) = (to, from);
        self.wire.0 += cost.bytes;
        self.clock.charge_collective(cost);
        self.read_messages(k)?;
        self.follow_copies(k)?;
        self.clock.charge(Phase::Compress);
        Ok(())
    }

    /// The envelope of a message of this exchange.
    pub(super) fn exchange_envelope(&self, k: u64, packets: usize) -> frame::Envelope {
        self.envelope(Round::of(k, Blocks::NONE).lower(self.gossip.exchanges), packets)
    }

    /// Packets that this rank has for another one, or expects from it, and the length of a message with
    /// them at most.
    fn count(&self, k: u64, places: impl Fn(&routes::Phase) -> usize) -> (usize, usize) {
        let Gossip { variables, places: sites, .. } = &self.gossip;
        let used = Site::all().filter(|site| sites[site.index()].used);
        let counts = used.map(|site| {
            let Variable { routes, longest, .. } = &variables[site.block as usize];
            let packets = places(routes.at(k));
            (packets, packets * longest)
        });
        counts.fold((0, frame::ENVELOPE), |sum, of_site| (sum.0 + of_site.0, sum.1 + of_site.1))
    }

    fn write_messages(&mut self, k: u64) {
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.clear();
        self.gossip.to.clear();
        self.gossip.from.clear();
        for rank in 0..self.placement.ranks {
            if let (1.., longest) = self.count(k, |phase| phase.from[rank].len()) {
                self.gossip.from.push(Peer { rank, longest });
            }
            let (packets, longest) = self.count(k, |phase| phase.to[rank].len());
            if packets == 0 {
                continue;
            }
            self.gossip.to.push(Peer { rank, longest });
            let failed = self.gossip.failure.is_some();
            let envelope = frame::Envelope { failed, ..self.exchange_envelope(k, packets) };
            outbox.push(|bytes| {
                envelope.write(bytes);
                if !failed {
                    self.gossip.write_packets(k, rank, bytes);
                }
            });
        }
        self.outbox = outbox;
        self.clock.charge(Phase::Compress);
    }

    /// Finds the packets in the messages.
    fn read_messages(&mut self, k: u64) -> Result<(), NetError> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut end = 0;
        for (at, message) in inbox.messages().enumerate() {
            end += message.len();
            let rank = self.gossip.from[at].rank;
            let (packets, _) = self.count(k, |phase| phase.from[rank].len());
            let envelope = self.exchange_envelope(k, packets);
            let opened = envelope.open(message, &format!("rank {rank}"))?;
            if opened.failed {
                self.gossip.failure.get_or_insert_default();
                continue;
            }
            let wrong = |problem: String| NetError::Frame { iteration: k, problem };
            let left = self.gossip.find_packets(k, rank, opened.rest, end);
            match left.map_err(|source| wrong(format!("rank {rank}: {source}")))? {
                0 => {}
                left => return Err(wrong(format!("rank {rank} sent {left} bytes too many"))),
            }
        }
        self.inbox = inbox;
        Ok(())
    }

    /// v = M v with the copies s^, for a hosted agent's vector of a site, as it was put.
    pub fn take(&mut self, k: u64, site: Site, agent: usize, v: &mut [F]) -> Result<(), NetError> {
        self.mix(k, site, agent, false, v)
    }

    /// The same with the estimates v~.
    pub fn take_estimates(
        &mut self,
        k: u64,
        site: Site,
        agent: usize,
        v: &mut [F],
    ) -> Result<(), NetError> {
        self.mix(k, site, agent, true, v)
    }

    fn mix(
        &mut self,
        k: u64,
        site: Site,
        agent: usize,
        estimates: bool,
        v: &mut [F],
    ) -> Result<(), NetError> {
        self.clock.charge(Phase::Server);
        if self.gossip.failure.is_some() {
            return Ok(());
        }
        let mixing = Mixing { k, site, agent, seed: self.setting.seed };
        let mixed = match self.gossip.variables[site.block as usize].coding {
            None => self.gossip.mix_plain(mixing, self.inbox.bytes(), v),
            Some(_) => self.gossip.mix_coded(mixing, estimates, self.inbox.bytes(), v),
        };
        let wrong = |(worker, source)| NetError::Decode { worker, iteration: k, source };
        mixed.map_err(wrong)?;
        self.clock.charge(Phase::Compress);
        Ok(())
    }
}

/// What an agent takes.
#[derive(Clone, Copy)]
struct Mixing {
    k: u64,
    site: Site,
    agent: usize,
    seed: u64,
}

impl Mixing {
    /// Key of what agent j drew.
    fn key(self, j: usize) -> Key {
        self.site.key(Draw::first(self.seed, j, self.k))
    }
}

/// A packet that cannot be read, with its agent.
type Wrong = (usize, DecodeError);

impl<F: Scalar> Gossip<F> {
    /// v = sum_j w_ij v_j.
    fn mix_plain(&mut self, mixing: Mixing, inbox: &[u8], v: &mut [F]) -> Result<(), Wrong> {
        let Self { variables, places, packed, buffer, .. } = self;
        let (variable, place) =
            (&variables[mixing.site.block as usize], &places[mixing.site.index()]);
        buffer.clear();
        buffer.resize(v.len(), F::zero());
        for &Term { agent, known, weight } in variable.routes.row(mixing.k, mixing.agent) {
            let weight = F::lit(weight);
            if agent == mixing.agent {
                add_scaled(buffer, weight, v);
            } else {
                let packet = place.packet(known, packed, inbox).map_err(|e| (agent, e))?;
                (Dense { dim: v.len() }.decode_add(packet, mixing.key(agent), weight, buffer))
                    .map_err(|e| (agent, e))?;
            }
        }
        v.copy_from_slice(buffer);
        Ok(())
    }

    /// v += eta sum_j w_ij (v~_j - v~_i), or the same of the copies.
    fn mix_coded(
        &mut self,
        mixing: Mixing,
        estimates: bool,
        inbox: &[u8],
        v: &mut [F],
    ) -> Result<(), Wrong> {
        let Self { variables, places, packed, buffer, .. } = self;
        let (variable, place) =
            (&mut variables[mixing.site.block as usize], &places[mixing.site.index()]);
        let own = variable.routes.place(mixing.agent);
        buffer.clear();
        buffer.resize(v.len(), F::zero());
        let mut drawn = 0.0;
        let row = variable.routes.row(mixing.k, mixing.agent);
        for term in row.iter().filter(|term| term.agent != mixing.agent) {
            drawn += term.weight;
            place.copies.add_difference(term.known, own, F::lit(term.weight), buffer);
        }
        let Variable { routes, coding: Some(coding), .. } = variable else { return Ok(()) };
        // The copies have followed at their rate; the rest of what was sent is v~'s alone.
        let rest = if estimates { 1.0 - coding.rate } else { 0.0 };
        if rest > 0.0 {
            let itself = Term { agent: mixing.agent, known: own, weight: -drawn };
            let others = routes.row(mixing.k, mixing.agent).iter().copied();
            let others = others.filter(|term| term.agent != mixing.agent);
            for Term { agent, known, weight } in others.chain([itself]) {
                let packet = place.packet(known, packed, inbox).map_err(|e| (agent, e))?;
                let scale = F::lit(rest * weight);
                (coding.compressor.decode_add(packet, mixing.key(agent), scale, buffer))
                    .map_err(|e| (agent, e))?;
            }
        }
        add_scaled(v, F::lit(coding.eta), buffer);
        Ok(())
    }
}
