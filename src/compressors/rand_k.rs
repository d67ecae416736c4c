//! Rand-k: K coordinates drawn uniformly without replacement, scaled by d/K.
//!
//! The support is derived from the key on both sides, so that only the K values travel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compressor, CompressorKind, kept};
use crate::config::{KeyError, Ratio};
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;

const WIRE: u8 = 1;
const INDEX_FROM_KEY: u8 = 1;

/// C(v)_j = (d/K) v_j for j in a uniform K-subset, else 0; K = max(1, round(ratio d)).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandK {
    /// Share of the coordinates that is sent.
    ratio: Ratio,
}

impl Kind for RandK {
    const KIND: &'static str = "rand-k";
    const SUMMARY: &'static str =
        "a uniform K-subset scaled by d/K, unbiased with omega = d/K - 1; no index travels";
    const SOURCE: &'static str = "Konecny, Richtarik, Frontiers in Appl. Math. Stat. 2018";
}

impl CompressorKind for RandK {
    fn build<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(Encoder { ratio: self.ratio.get(), support: Support::default() }))
    }
}

struct Encoder {
    ratio: f64,
    support: Support,
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self, dim: usize) -> Bound {
        Bound::Unbiased { omega: dim as f64 / kept(self.ratio, dim) as f64 - 1.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) {
        let header = Header {
            compressor: WIRE,
            index_code: INDEX_FROM_KEY,
            value_code: packet::raw_value_code::<F>(),
            dim: v.len(),
            count: kept(self.ratio, v.len()),
        };
        self.support.draw(v.len(), header.count, key);
        packet::write(out, header, |out| {
            out.reserve(header.count * F::BYTES);
            self.support.for_each(|j| out.extend_from_slice(bytemuck::bytes_of(&v[j])));
        });
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        DecodeError::expect("compressor", header.compressor.into(), WIRE.into())?;
        DecodeError::expect("index code", header.index_code.into(), INDEX_FROM_KEY.into())?;
        DecodeError::expect("value code", header.value_code.into(), F::BYTES)?;
        DecodeError::expect("dim", header.dim, out.len())?;
        DecodeError::expect("count", header.count, kept(self.ratio, out.len()))?;
        let mut values = packet::values::<F>(payload, header.count)?;
        let scale = scale * F::lit(out.len() as f64 / header.count as f64);
        self.support.draw(out.len(), header.count, key);
        self.support.for_each(|j| {
            if let Some(v) = values.next() {
                out[j] += scale * v;
            }
        });
        Ok(())
    }

    fn max_packet(&self, dim: usize) -> usize {
        HEADER + kept(self.ratio, dim) * F::BYTES
    }
}

/// A uniform K-subset of 0..d as a bitmap, drawn by rejection: indices are drawn until K different
/// ones are marked. Above one half the complement is drawn, so that the expected number of draws
/// stays below 1.4 min(K, d - K).
#[derive(Default)]
struct Support {
    bits: Vec<u64>,
}

impl Support {
    fn draw(&mut self, dim: usize, count: usize, key: Key) {
        let complement = 2 * count > dim;
        let marked = if complement { dim - count } else { count };
        self.bits.clear();
        self.bits.resize(dim.div_ceil(64), 0);
        self.mark(dim, marked, key);
        if complement {
            self.bits.iter_mut().for_each(|word| *word = !*word);
            if let (Some(last), tail @ 1..) = (self.bits.last_mut(), dim % 64) {
                *last &= (1 << tail) - 1;
            }
        }
    }

    fn mark(&mut self, dim: usize, mut missing: usize, key: Key) {
        let dim = u32::try_from(dim).expect("the plan bounds dimensions by 2^32");
        // Lemire (ACM TOMACS 2019): the high half of draw * d is uniform once the low halves below
        // 2^32 mod d are rejected.
        let reject_below = dim.wrapping_neg() % dim;
        let mut lanes = key.lanes();
        while missing > 0 {
            for draw in lanes.draw() {
                let product = u64::from(draw) * u64::from(dim);
                let index = (product >> 32) as usize;
                let (word, bit) = (&mut self.bits[index / 64], 1u64 << (index % 64));
                if (product as u32) >= reject_below && *word & bit == 0 && missing > 0 {
                    *word |= bit;
                    missing -= 1;
                }
            }
        }
    }

    /// The indices in ascending order.
    fn for_each(&self, mut visit: impl FnMut(usize)) {
        for (at, &word) in self.bits.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                visit(64 * at + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Stream;

    fn subset(dim: usize, count: usize, iteration: u64) -> Vec<usize> {
        let mut support = Support::default();
        let key = Key { iteration, ..Key::shared(5, Stream::CompressX) };
        support.draw(dim, count, key);
        let mut indices = vec![];
        support.for_each(|j| indices.push(j));
        indices
    }

    #[test]
    fn supports_have_the_right_size_and_are_sorted() {
        for dim in [1, 2, 63, 64, 65, 128, 1000] {
            for count in [1, 2, dim / 3, dim / 2, dim / 2 + 1, dim - 1, dim] {
                let count = count.clamp(1, dim);
                let indices = subset(dim, count, 0);
                assert_eq!(indices.len(), count, "{count} of {dim}");
                assert!(
                    indices.windows(2).all(|pair| pair[0] < pair[1]) && indices[count - 1] < dim
                );
            }
        }
    }

    #[test]
    fn every_coordinate_and_pair_is_equally_likely() {
        let (dim, size, draws) = (10, 4, 20_000u64);
        let mut pairs = [[0u32; 10]; 10];
        for iteration in 0..draws {
            let indices = subset(dim, size, iteration);
            indices.iter().for_each(|&i| indices.iter().for_each(|&j| pairs[i][j] += 1));
        }
        for (i, row) in pairs.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                let p = if i == j { 0.4 } else { 0.4 * 3.0 / 9.0 };
                let sigma = (draws as f64 * p * (1.0 - p)).sqrt();
                let off = (f64::from(count) - draws as f64 * p).abs() / sigma;
                assert!(off < 4.5, "({i}, {j}) is {off} standard errors off");
            }
        }
    }
}
