//! Copies s^_j of the vectors of all known agents: every holder follows them from the same bytes.

use super::routes::Routes;
use super::{Gossip, Site, Span, Variable};
use crate::archive::{Archive, Holder};
use crate::net::{Net, NetError};
use crate::packet::{DecodeError, Packet};
use crate::problems::Draw;
use crate::scalar::Scalar;

/// Of each known agent; none until the first exchange of a compressed site.
#[derive(Default)]
pub(super) struct Copies<F>(Vec<Vec<F>>);

impl<F: Scalar> Copies<F> {
    /// Copies of `known` vectors of this length, zero if there were none.
    pub fn prepare(&mut self, known: usize, dim: usize) {
        if self.0.is_empty() {
            self.0 = vec![vec![F::zero(); dim]; known];
        }
    }

    pub fn of(&self, at: usize) -> &[F] {
        &self.0[at]
    }

    /// out += weight (s^_at - s^_own).
    pub fn add_difference(&self, at: usize, own: usize, weight: F, out: &mut [F]) {
        crate::simd::vectorized(
            #[inline(always)]
            || {
                for ((out, &other), &own) in out.iter_mut().zip(&self.0[at]).zip(&self.0[own]) {
                    *out += weight * (other - own);
                }
            },
        );
    }
}

impl<F: Scalar> Variable<F> {
    fn show_copies(&self, agent: usize, copies: &mut Copies<F>, archive: &mut Archive<'_>) {
        let Routes { known, phases, .. } = &self.routes;
        let mut begun = u64::from(!copies.0.is_empty());
        archive.word(&mut begun);
        if begun == 0 {
            return;
        }
        copies.prepare(known.len(), self.dim);
        let own = self.routes.place(agent);
        archive.vector(&mut copies.0[own]);
        // Compressed variables have one phase.
        let row = &phases[0].rows[agent - self.routes.first];
        let others = row.iter().filter(|term| term.agent != agent);
        others.clone().for_each(|term| archive.vector(&mut copies.0[term.known]));
        for _ in others.count()..self.degree {
            archive.vector(&mut vec![F::zero(); self.dim]);
        }
    }
}

impl<F: Scalar> Gossip<F> {
    /// Shows what a hosted agent holds: its copies, itself first, and the bytes that its links carried. All
    /// agents show as much as the one with most neighbours.
    pub fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        let Holder::Worker(agent) = of else { return };
        for (place, site) in self.places.iter_mut().zip(Site::all()) {
            let variable = &self.variables[site.block as usize];
            if variable.coding.is_some() {
                variable.show_copies(agent, &mut place.copies, archive);
            }
        }
        let own = self.links.partition_point(|&(j, _)| j < agent);
        let end = self.links.partition_point(|&(j, _)| j <= agent);
        for at in own..own + self.most_links {
            match self.link_bytes[..end].get_mut(at) {
                Some(bytes) => archive.word(bytes),
                None => archive.word(&mut 0),
            }
        }
    }

    /// Appends the packets that a rank's agents hear.
    pub(super) fn write_packets(&self, k: u64, rank: usize, out: &mut Vec<u8>) {
        for site in Site::all() {
            let place = &self.places[site.index()];
            if place.used {
                for &at in &self.variables[site.block as usize].routes.at(k).to[rank] {
                    out.extend_from_slice(&self.packed[place.spans[at].bytes.clone()]);
                }
            }
        }
    }

    /// Notes where the packets of a rank's agents are in its message, `rest`, which ends at `end` of the
    /// inbox. Returns how many bytes are left.
    pub(super) fn find_packets(
        &mut self,
        k: u64,
        rank: usize,
        mut rest: &[u8],
        end: usize,
    ) -> Result<usize, DecodeError> {
        for site in Site::all() {
            let (variable, place) =
                (&self.variables[site.block as usize], &mut self.places[site.index()]);
            if !place.used {
                continue;
            }
            for &at in &variable.routes.at(k).from[rank] {
                let start = end - rest.len();
                rest = Packet::split(rest)?.1;
                place.spans[at] = Span { heard: true, bytes: start..end - rest.len() };
            }
        }
        Ok(rest.len())
    }
}

impl<F: Scalar> Net<'_, F> {
    /// s^_j += delta q_j for all known agents j of the compressed sites of this exchange.
    pub(super) fn follow_copies(&mut self, k: u64) -> Result<(), NetError> {
        if self.gossip.failure.is_some() {
            return Ok(());
        }
        let seed = self.setting.seed;
        let Self { gossip, inbox, .. } = self;
        let Gossip { variables, places, packed, .. } = gossip;
        for site in Site::all() {
            let (variable, place) =
                (&mut variables[site.block as usize], &mut places[site.index()]);
            let (true, Some(coding)) = (place.used, &mut variable.coding) else { continue };
            for (at, &j) in variable.routes.known.iter().enumerate() {
                let wrong = |source| NetError::Decode { worker: j, iteration: k, source };
                let packet = place.packet(at, packed, inbox.bytes()).map_err(wrong)?;
                let key = site.key(Draw::first(seed, j, k));
                let copy = &mut place.copies.0[at];
                (coding.compressor.decode_add(packet, key, F::lit(coding.rate), copy))
                    .map_err(wrong)?;
            }
        }
        Ok(())
    }
}
