//! Rand-k: K coordinates drawn without replacement, scaled by d/K.
//!
//! The support is derived from the key on both sides, so that only the K values travel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::support::{Stratified, Uniform, gather, scatter_add};
use super::{Bound, Compressor, CompressorKind, NotFinite, Site, kept};
use crate::config::{KeyError, Ratio};
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 1;

/// C(v)_j = (d/K) v_j for j in a random K-subset, else 0; K = max(1, round(ratio d)).
///
/// Every j is in the subset with probability exactly K/d, whichever the sampler, so that E C(v) = v
/// and E|C(v) - v|^2 = sum_j v_j^2 (d/K - 1) = omega |v|^2 with omega = d/K - 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandK {
    /// Share of the coordinates that is sent.
    pub(super) ratio: Ratio,
    /// How the subset is drawn.
    #[serde(default)]
    pub(super) sampler: Sampler,
    /// Whether all workers draw the same subset, so that their packets can be added up on the way.
    #[serde(default)]
    pub(super) shared: bool,
}

/// Distribution of the K-subset.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Every K-subset is equally likely.
    #[default]
    Uniform,
    /// One coordinate in each of K strata of nearly equal length, rotated at random: several times
    /// faster, same omega.
    Stratified,
}

impl Kind for RandK {
    const KIND: &'static str = "rand-k";
    const SUMMARY: &'static str =
        "a random K-subset scaled by d/K, unbiased with omega = d/K - 1; no index travels";
    const SOURCE: &'static str = "Konecny, Richtarik, Frontiers in Appl. Math. Stat. 2018";
}

impl CompressorKind for RandK {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let count = kept(self.ratio.get(), site.dim());
        Ok(Box::new(self.encoder(WIRE, site.dim(), count)))
    }
}

impl RandK {
    /// The encoder of `count` coordinates with these options, whatever the ratio, whose packets
    /// carry the number of the compressor that they belong to.
    pub(super) fn encoder(&self, wire: u8, dim: usize, count: usize) -> Encoder {
        let support = match self.sampler {
            Sampler::Uniform => Support::Uniform(Uniform::default()),
            Sampler::Stratified => Support::Stratified(Stratified::new(dim, count)),
        };
        Encoder { wire, dim, count, support, shared: self.shared }
    }
}

/// Rand-k for vectors of one length.
pub(super) struct Encoder {
    wire: u8,
    dim: usize,
    count: usize,
    support: Support,
    shared: bool,
}

enum Support {
    Uniform(Uniform),
    Stratified(Stratified),
}

impl Support {
    /// Which support the receiver must derive from the key.
    fn index_code(&self) -> u8 {
        match self {
            Self::Uniform(_) => 1,
            Self::Stratified(_) => 2,
        }
    }

    #[inline(always)]
    fn visit(&mut self, dim: usize, count: usize, key: Key, visit: impl FnMut(&[u32])) {
        match self {
            Self::Uniform(uniform) => uniform.visit(dim, count, key, visit),
            Self::Stratified(stratified) => stratified.visit(key, visit),
        }
    }
}

impl Encoder {
    fn header<F: Scalar>(&self) -> Header {
        Header {
            compressor: self.wire,
            index_code: self.support.index_code(),
            value_code: packet::raw_value_code::<F>(),
            dim: self.dim,
            count: self.count,
        }
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: self.dim as f64 / self.count as f64 - 1.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let mut finite = true;
        packet::write(out, self.header::<F>(), |out| {
            out.reserve(self.count * F::BYTES);
            vectorized(
                #[inline(always)]
                || {
                    self.support.visit(
                        self.dim,
                        self.count,
                        key,
                        #[inline(always)]
                        |indices| finite &= gather(v, indices, out),
                    );
                },
            );
        });
        if finite { Ok(()) } else { Err(NotFinite) }
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, mut payload } = packet;
        header.expect(self.header::<F>())?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        DecodeError::expect("payload bytes", payload.len(), self.count * F::BYTES)?;
        let scale = scale * F::lit(self.dim as f64 / self.count as f64);
        vectorized(
            #[inline(always)]
            || {
                self.support.visit(
                    self.dim,
                    self.count,
                    key,
                    #[inline(always)]
                    |indices| scatter_add(&mut payload, indices, scale, out),
                );
            },
        );
        Ok(())
    }

    fn max_packet(&self) -> usize {
        HEADER + self.count * F::BYTES
    }

    fn summable(&self) -> Option<usize> {
        self.shared.then_some(self.count)
    }
}
