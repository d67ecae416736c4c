//! Rand-block: K consecutive coordinates from a random one on, scaled by d/K.
//!
//! The cheapest sparsifier with the constant of rand-k: one draw, two copies. Coordinates that lie
//! next to each other are sent together, so the errors of neighbours are correlated.

use std::ops::Range;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compressor, CompressorKind, NotFinite, Site, kept};
use crate::config::{KeyError, Ratio};
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;
use crate::vars::all_finite;

const WIRE: u8 = 4;
const INDEX_FROM_KEY: u8 = 1;

/// C(v)_j = (d/K) v_j for j in {s, .., s + K - 1} mod d, s uniform on 0..d; K = max(1, round(ratio d)).
///
/// K of the d starts cover each j, so that P(j is sent) = K/d; hence omega = d/K - 1 as for rand-k.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandBlock {
    /// Share of the coordinates that is sent.
    ratio: Ratio,
    /// Whether all workers draw the same block, so that their packets can be added up on the way.
    #[serde(default)]
    shared: bool,
}

impl Kind for RandBlock {
    const KIND: &'static str = "rand-block";
    const SUMMARY: &'static str =
        "K consecutive coordinates scaled by d/K, unbiased with omega = d/K - 1; no index travels";
    const SOURCE: &'static str = "Burlachenko, Richtarik 2024 (RandSeqK)";
}

impl CompressorKind for RandBlock {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let count = kept(self.ratio.get(), site.dim());
        Ok(Box::new(Encoder { dim: site.dim(), count, shared: self.shared }))
    }
}

struct Encoder {
    dim: usize,
    count: usize,
    shared: bool,
}

impl Encoder {
    fn header<F: Scalar>(&self) -> Header {
        Header {
            compressor: WIRE,
            index_code: INDEX_FROM_KEY,
            value_code: packet::raw_value_code::<F>(),
            dim: self.dim,
            count: self.count,
        }
    }

    /// The block up to the last coordinate, and what of it continues at the first.
    fn block(&self, key: Key) -> [Range<usize>; 2] {
        let (dim, mut rng) = (self.dim as u64, key.rng());
        // 2^64 mod d of the draws are rejected: the others are equally many for each start.
        let reject_below = dim.wrapping_neg() % dim;
        let start = loop {
            let draw = rng.next_u64();
            if draw >= reject_below {
                break (draw % dim) as usize;
            }
        };
        let end = start + self.count;
        [start..end.min(self.dim), 0..end.saturating_sub(self.dim)]
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: self.dim as f64 / self.count as f64 - 1.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let parts = self.block(key).map(|range| &v[range]);
        if !parts.into_iter().all(all_finite) {
            return Err(NotFinite);
        }
        packet::write(out, self.header::<F>(), |out| {
            parts.iter().for_each(|part| out.extend_from_slice(bytemuck::cast_slice(part)));
        });
        Ok(())
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        header.expect(self.header::<F>())?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        DecodeError::expect("payload bytes", payload.len(), self.count * F::BYTES)?;
        let scale = scale * F::lit(self.dim as f64 / self.count as f64);
        let parts = self.block(key);
        let (first, second) = payload.split_at(parts[0].len() * F::BYTES);
        for (range, values) in parts.into_iter().zip([first, second]) {
            let (out, values) = (&mut out[range], values.chunks_exact(F::BYTES));
            vectorized(
                #[inline(always)]
                || {
                    for (out, v) in out.iter_mut().zip(values) {
                        *out += scale * bytemuck::pod_read_unaligned::<F>(v);
                    }
                },
            );
        }
        Ok(())
    }

    fn max_packet(&self) -> usize {
        HEADER + self.count * F::BYTES
    }

    fn summable(&self) -> Option<usize> {
        self.shared.then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Stream;

    #[test]
    fn every_start_is_equally_likely_and_blocks_wrap() {
        let encoder = Encoder { dim: 10, count: 4, shared: false };
        let mut starts = [0u32; 10];
        for iteration in 0..10_000 {
            let key = Key { iteration, ..Key::shared(5, Stream::CompressX) };
            let [first, second] = encoder.block(key);
            assert_eq!((first.len() + second.len(), second.start), (4, 0));
            assert!(second.is_empty() || (first.end == 10 && second.end <= first.start));
            starts[first.start] += 1;
        }
        let chi2: f64 = starts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi2 < 28.0, "chi-square {chi2} at 9 degrees of freedom");
    }
}
