//! Bernoulli sparsification: every coordinate is sent with probability p, independently.
//!
//! The support is derived from the key on both sides; the number of values varies with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::support::{Bitmap, gather, scatter_add};
use super::{Bound, Compressor, CompressorKind, NotFinite, Site};
use crate::config::{KeyError, Ratio};
use crate::key::{Key, LANES, Lanes};
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 5;
const INDEX_FROM_KEY: u8 = 1;

/// C(v)_j = v_j / p with probability p, else 0; independent over j.
///
/// E C(v) = v and E|C(v) - v|^2 = sum_j v_j^2 (1/p - 1), so omega = 1/p - 1. p is `ratio` rounded to
/// a multiple of 2^-32 (at least one), and that p is the one in the scale.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bernoulli {
    /// Probability that a coordinate is sent.
    ratio: Ratio,
}

impl Kind for Bernoulli {
    const KIND: &'static str = "bernoulli";
    const SUMMARY: &'static str =
        "each coordinate with probability p, scaled by 1/p, unbiased with omega = 1/p - 1";
    const SOURCE: &'static str = "Khirirat, Feyzmahdavian, Johansson, arXiv:1806.06573, 2018";
}

impl CompressorKind for Bernoulli {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let threshold = (self.ratio.get() * ONE as f64).round().max(1.0) as u64;
        Ok(Box::new(Encoder { dim: site.dim(), threshold, support: Bitmap::default() }))
    }
}

/// 2^32.
const ONE: u64 = 1 << 32;

struct Encoder {
    dim: usize,
    /// 2^32 p.
    threshold: u64,
    support: Bitmap,
}

impl Encoder {
    fn p(&self) -> f64 {
        self.threshold as f64 / ONE as f64
    }

    /// Draws the support: its size is part of the header.
    fn header<F: Scalar>(&mut self, key: Key) -> Header {
        Header {
            compressor: WIRE,
            index_code: INDEX_FROM_KEY,
            value_code: packet::raw_value_code::<F>(),
            dim: self.dim,
            count: self.draw(key),
        }
    }

    /// Draws the support and returns its size.
    fn draw(&mut self, key: Key) -> usize {
        let mut lanes = key.lanes();
        self.support.clear(self.dim);
        vectorized(
            #[inline(always)]
            || {
                for words in self.support.words_mut().chunks_mut(LANES / 2) {
                    let halves = coins(self.threshold, &mut lanes);
                    for (word, half) in words.iter_mut().zip(halves.as_chunks::<2>().0) {
                        *word = u64::from(half[0]) | u64::from(half[1]) << 32;
                    }
                }
                self.support.cut(self.dim);
                self.support.len()
            },
        )
    }
}

/// 512 independent bits, each set with probability `threshold` / 2^32 exactly.
///
/// A bit is set if a uniform number u of 32 binary digits is below the threshold. The numbers of all
/// 512 are compared digit by digit, from the first, with one bit of a draw for each: it is decided
/// where u and the threshold first differ. Half of those left are decided by each digit, so that
/// some 12 digits do for all instead of 32.
#[inline(always)]
fn coins(threshold: u64, lanes: &mut Lanes) -> [u32; LANES] {
    if threshold == ONE {
        return [u32::MAX; LANES];
    }
    let (mut set, mut open) = ([0; LANES], [u32::MAX; LANES]);
    for digit in (0..32).rev() {
        let draws = lanes.draw();
        // All ones where the threshold has a one: a zero of u then makes it smaller.
        let one = ((threshold >> digit & 1) as u32).wrapping_neg();
        for lane in 0..LANES {
            set[lane] |= open[lane] & one & !draws[lane];
            open[lane] &= draws[lane] ^ !one;
        }
        if digit < 24 {
            let mut any = 0;
            for open in open {
                any |= open;
            }
            if any == 0 {
                break;
            }
        }
    }
    set
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: 1.0 / self.p() - 1.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let header = self.header::<F>(key);
        let mut finite = true;
        packet::write(out, header, |out| {
            out.reserve(header.count * F::BYTES);
            vectorized(
                #[inline(always)]
                || {
                    self.support.visit(
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
        header.expect(self.header::<F>(key))?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        DecodeError::expect("payload bytes", payload.len(), header.count * F::BYTES)?;
        let scale = scale * F::lit(1.0 / self.p());
        vectorized(
            #[inline(always)]
            || {
                self.support.visit(
                    #[inline(always)]
                    |indices| scatter_add(&mut payload, indices, scale, out),
                );
            },
        );
        Ok(())
    }

    /// Every coordinate may be drawn.
    fn max_packet(&self) -> usize {
        HEADER + self.dim * F::BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Stream;

    fn key(iteration: u64) -> Key {
        Key { iteration, ..Key::shared(5, Stream::CompressX) }
    }

    #[test]
    fn every_coordinate_is_drawn_with_probability_p() {
        let (dim, draws) = (1000, 4000);
        for p in [0.001, 0.1, 1.0 / 3.0, 0.5, 0.9] {
            let threshold = (p * ONE as f64).round() as u64;
            let mut encoder = Encoder { dim, threshold, support: Bitmap::default() };
            let mut counts = vec![0u32; dim];
            for iteration in 0..draws {
                let count = encoder.draw(key(iteration));
                let mut seen = 0;
                encoder.support.visit(|block| {
                    seen += block.len();
                    block.iter().for_each(|&j| counts[j as usize] += 1);
                });
                assert_eq!(seen, count);
            }
            let (mean, variance) = (draws as f64 * p, draws as f64 * p * (1.0 - p));
            let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - mean).powi(2) / variance).sum();
            assert!((chi2 - 1000.0).abs() < 5.0 * 2000f64.sqrt(), "p = {p}: chi-square {chi2}");
        }
    }

    #[test]
    fn a_coin_compares_a_number_of_32_digits_with_the_threshold() {
        for threshold in [1, 2, 0x1999_999a, 0x8000_0000, 0xffff_ffff, ONE] {
            let mut lanes = key(threshold).lanes();
            let digits: [[u32; LANES]; 32] = std::array::from_fn(|_| lanes.draw());
            let set = coins(threshold, &mut key(threshold).lanes());
            for (lane, bit) in (0..LANES).flat_map(|lane| (0..32).map(move |bit| (lane, bit))) {
                let digit =
                    |u: u64, draws: &[u32; LANES]| u << 1 | u64::from(draws[lane] >> bit & 1);
                let u = digits.iter().fold(0, digit);
                assert_eq!(set[lane] >> bit & 1 == 1, u < threshold, "{u} and {threshold}");
            }
        }
    }
}
