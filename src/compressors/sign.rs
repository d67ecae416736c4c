//! Scaled sign: one bit an entry and the mean magnitude.
//!
//! Payload: the mean in the run's precision, and bit j % 8 of byte j / 8 set where v_j < 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::lane::{LANES, reduce};
use super::codec::scale::{power_of_two, read_scale};
use super::{Bound, Compressor, CompressorKind, NotFinite, Site};
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 9;
/// No entry is left out.
const INDEX_NONE: u8 = 0;
/// Entries that are added in the run's precision before the sum goes on in double precision.
const SUM_BLOCK: usize = 1024;

/// C(v) = (|v|_1 / d) sign(v), the sign of 0 being +.
///
/// With a = |v|_1 / d the error sum_j (|v_j| - a)^2 (an entry 0 is off by a, whatever its sign) is
/// |v|^2 - |v|_1^2 / d. As |v|_1 >= |v|, with equality where one entry alone is not 0, it is at
/// most (1 - 1/d) |v|^2: contractive with delta = 1/d. Of normal v it keeps 2/pi.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {}

impl Kind for Sign {
    const KIND: &'static str = "sign";
    const SUMMARY: &'static str =
        "signs times the mean magnitude, one bit an entry, contractive with delta = 1/d";
    const SOURCE: &'static str = "Karimireddy, Rebjock, Stich, Jaggi, ICML 2019";
}

impl CompressorKind for Sign {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(Encoder { dim: site.dim() }))
    }
}

struct Encoder {
    dim: usize,
}

impl Encoder {
    fn header<F: Scalar>(&self) -> Header {
        Header {
            compressor: WIRE,
            index_code: INDEX_NONE,
            value_code: packet::raw_value_code::<F>(),
            dim: self.dim,
            count: self.dim,
        }
    }

    fn payload<F: Scalar>(&self) -> usize {
        F::BYTES + self.dim.div_ceil(8)
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        Bound::Contractive { delta: 1.0 / self.dim as f64 }
    }

    fn encode(&mut self, v: &[F], _key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let mut result = Ok(());
        packet::write(out, self.header::<F>(), |out| {
            let start = out.len();
            out.resize(start + self.payload::<F>(), 0);
            let (scale, bits) = out[start..].split_at_mut(F::BYTES);
            let sum = vectorized(
                #[inline(always)]
                || signs_and_sum(v, bits),
            );
            match mean(sum, v) {
                Ok(mean) => scale.copy_from_slice(bytemuck::bytes_of(&mean)),
                Err(error) => result = Err(error),
            }
        });
        result
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        _key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        header.expect(self.header::<F>())?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        DecodeError::expect("payload bytes", payload.len(), self.payload::<F>())?;
        let (mean, bits) = payload.split_at(F::BYTES);
        let mean = read_scale::<F>(mean)?;
        let padding = match (bits.last(), self.dim % 8) {
            (Some(last), tail @ 1..) => last >> tail,
            _ => 0,
        };
        DecodeError::expect("padding", padding.into(), 0)?;
        vectorized(
            #[inline(always)]
            || add_signs(bits, mean * scale, out),
        );
        Ok(())
    }

    fn max_packet(&self) -> usize {
        HEADER + self.payload::<F>()
    }
}

/// Writes the bits and returns |v|_1, or something not finite if it, or an entry, is.
#[inline(always)]
fn signs_and_sum<F: Scalar>(v: &[F], bits: &mut [u8]) -> f64 {
    let mut sum = 0.0;
    for (v, bits) in v.chunks(SUM_BLOCK).zip(bits.chunks_mut(SUM_BLOCK / 8)) {
        let mut lanes = [F::zero(); LANES];
        let (full, tail) = v.as_chunks::<LANES>();
        let (head, rest) = bits.split_at_mut(full.len() * (LANES / 8));
        for (v, bits) in full.iter().zip(head.as_chunks_mut().0) {
            *bits = add_lanes(v, &mut lanes);
        }
        if !tail.is_empty() {
            let mut padded = [F::zero(); LANES];
            padded[..tail.len()].copy_from_slice(tail);
            rest.copy_from_slice(&add_lanes(&padded, &mut lanes)[..rest.len()]);
        }
        sum += reduce(lanes, |a, b| a + b).wide();
    }
    sum
}

/// lanes += |v|; the bits v < 0.
#[inline(always)]
fn add_lanes<F: Scalar>(v: &[F; LANES], lanes: &mut [F; LANES]) -> [u8; LANES / 8] {
    let mut negative = [0u8; LANES];
    for j in 0..LANES {
        lanes[j] += v[j].abs();
        negative[j] = u8::from(v[j] < F::zero());
    }
    let (bytes, _) = negative.as_chunks::<8>();
    // The product moves bit 8i of the word to bit 56 + i, without carries.
    std::array::from_fn(|i| {
        (u64::from_le_bytes(bytes[i]).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    })
}

/// |v|_1 / d. Where the sum overflows, the mean of v 2^-64 times 2^64, unless an entry is not finite.
fn mean<F: Scalar>(sum: f64, v: &[F]) -> Result<F, NotFinite> {
    let dim = v.len().max(1) as f64;
    if sum.is_finite() {
        return Ok(F::lit(sum / dim));
    }
    let down = power_of_two(-64);
    let mean = v.iter().map(|v| v.wide().abs() * down).sum::<f64>() / dim / down;
    // Rounding alone cannot make a mean larger than every number.
    let finite = v.iter().all(|v| v.is_finite());
    if finite { Ok(F::lit(mean).min(F::max_value())) } else { Err(NotFinite) }
}

#[inline(always)]
fn add_signs<F: Scalar>(bits: &[u8], mean: F, out: &mut [F]) {
    let term = |byte: u8, j: usize| if byte >> j & 1 == 1 { -mean } else { mean };
    let (full, tail) = out.as_chunks_mut::<8>();
    let (bytes, last) = bits.split_at(full.len());
    for (out, &byte) in full.iter_mut().zip(bytes) {
        for (j, out) in out.iter_mut().enumerate() {
            *out += term(byte, j);
        }
    }
    for (j, out) in tail.iter_mut().enumerate() {
        *out += term(last[0], j);
    }
}
