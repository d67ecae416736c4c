//! Natural compression: each magnitude is rounded to a power of two, one byte an entry.
//!
//! Payload, per block of 4096 entries: `i16 e | u8 code x entries`. A code is a sign bit and c in 0 to
//! 127, for 0 or 2^(e - 127 + c); every magnitude of the block is below 2^e.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::scale::{Unit, binade, largest, power_of_two};
use super::{Bound, Compressor, CompressorKind, NotFinite, Site};
use crate::config::KeyError;
use crate::key::{Key, Lanes};
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 6;
/// No entry is left out.
const INDEX_NONE: u8 = 0;
/// Entries that share the exponent e: they stay in the first-level cache between the search for the
/// largest and the coding.
const EXPONENT_BLOCK: usize = 4096;
/// Bytes of e.
const EXPONENT: usize = 2;
/// Entries coded together.
const LANES: usize = 16;

/// C(v)_j = sign(v_j) 2^a or sign(v_j) 2^(a+1), 2^a <= |v_j| < 2^(a+1), the larger one with
/// probability |v_j|/2^a - 1.
///
/// It is unbiased, and the error (|v_j| - 2^a)(2^(a+1) - |v_j|) is at most v_j^2 / 8, met at
/// |v_j| = 4/3 2^a: omega = 1/8. Entries of a block below its lowest level l = 2^(e-126) go to 0 or l, at
/// most l^2/4 each; the block's largest entry is at least 2^(e-1), so that this adds at most
/// 4096 2^-252 to omega, which is nothing beside 1/8 even in double precision.
///
/// In double precision |v_j| is rounded to the nearest number of 24 significant bits first, and that
/// number is what the mean of C(v)_j is: each entry has a bias of up to 2^-24 |v_j|, which no number of
/// draws averages out. The promise holds up to that, and E|C(v) - v|^2 is at most (1 + 2^-22) omega |v|^2.
/// In single precision nothing is rounded, and the 23 bits of the draw make the mean exact.
///
/// The power above the largest number of a precision is sent as that number (v_j is then off by 2^-24
/// of itself in single precision, as by any rounding).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Natural {}

impl Kind for Natural {
    const KIND: &'static str = "natural";
    const SUMMARY: &'static str =
        "random rounding to a power of two, one byte an entry, unbiased with omega = 1/8";
    const SOURCE: &'static str = "Horvath, Ho, Horvath, Sahu, Canini, Richtarik, MSML 2022";
}

impl CompressorKind for Natural {
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

    fn payload(&self) -> usize {
        self.dim + EXPONENT * self.dim.div_ceil(EXPONENT_BLOCK)
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: 0.125 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        out.reserve(HEADER + self.payload());
        let mut result = Ok(());
        packet::write(out, self.header::<F>(), |out| {
            result = vectorized(
                #[inline(always)]
                || encode_blocks(v, key.lanes(), out),
            );
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
        DecodeError::expect("payload bytes", payload.len(), self.payload())?;
        vectorized(
            #[inline(always)]
            || add_blocks(payload, scale, out),
        )
    }

    fn max_packet(&self) -> usize {
        HEADER + self.payload()
    }
}

#[inline(always)]
fn encode_blocks<F: Scalar>(v: &[F], mut lanes: Lanes, out: &mut Vec<u8>) -> Result<(), NotFinite> {
    for v in v.chunks(EXPONENT_BLOCK) {
        let largest = largest(v)?;
        let exponent = if largest == F::zero() { 0 } else { binade(largest.wide()) as i16 };
        out.extend_from_slice(&exponent.to_le_bytes());
        let start = out.len();
        out.resize(start + v.len(), 0);
        encode_block(v, Unit::of(largest), &mut lanes, &mut out[start..]);
    }
    Ok(())
}

#[inline(always)]
fn encode_block<F: Scalar>(v: &[F], unit: Unit<F>, lanes: &mut Lanes, codes: &mut [u8]) {
    let (full, tail) = v.as_chunks::<LANES>();
    let (head, rest) = codes.as_chunks_mut::<LANES>();
    for (v, codes) in full.iter().zip(head) {
        encode_lanes(v, unit, lanes, codes);
    }
    if !tail.is_empty() {
        let (mut padded, mut codes) = ([F::zero(); LANES], [0; LANES]);
        padded[..tail.len()].copy_from_slice(tail);
        encode_lanes(&padded, unit, lanes, &mut codes);
        rest.copy_from_slice(&codes[..tail.len()]);
    }
}

/// The exponent field of |v| 2^-e after a carry from the significand, with probability significand.
///
/// The largest code is that of 1 = 2^0, field 127; what is below 2^-126 is subnormal, its significand
/// the distance from 0, so that the same carry rounds it to field 0 or 1.
#[inline(always)]
fn encode_lanes<F: Scalar>(
    v: &[F; LANES],
    unit: Unit<F>,
    lanes: &mut Lanes,
    codes: &mut [u8; LANES],
) {
    let draw = lanes.draw();
    for j in 0..LANES {
        let relative = (v[j].abs() * unit.first * unit.second).to_single();
        let field = (relative.to_bits() + (draw[j] >> 9)) >> 23;
        codes[j] = (field | v[j].sign_bit() << 7) as u8;
    }
}

#[inline(always)]
fn add_blocks<F: Scalar>(payload: &[u8], by: F, out: &mut [F]) -> Result<(), DecodeError> {
    let highest = binade(F::max_value().wide());
    let lowest = binade(F::min_positive_value().wide() * F::epsilon().wide());
    let blocks = payload.chunks(EXPONENT + EXPONENT_BLOCK).zip(out.chunks_mut(EXPONENT_BLOCK));
    for (block, out) in blocks {
        let (exponent, codes) = block.split_at(EXPONENT);
        let exponent = i32::from(i16::from_le_bytes([exponent[0], exponent[1]]));
        if exponent < lowest || exponent > highest {
            let (found, expected) = (u64::from(exponent.unsigned_abs()), highest as u64);
            return Err(DecodeError::Field { field: "exponent", found, expected });
        }
        if exponent == highest {
            // 2^e itself is not a number: in halves, the last code being the largest number.
            let half = F::lit(power_of_two(exponent - 1)) * by;
            let last = F::one() + (F::one() - F::epsilon());
            let value = |relative: F| (relative + relative).min(last).max(-last) * half;
            add_codes(codes, value, out);
        } else {
            let power = F::lit(power_of_two(exponent)) * by;
            add_codes(codes, |relative| relative * power, out);
        }
    }
    Ok(())
}

/// The code as the sign and exponent field of a number is the value over 2^e.
#[inline(always)]
fn add_codes<F: Scalar>(codes: &[u8], value: impl Fn(F) -> F, out: &mut [F]) {
    for (out, &code) in out.iter_mut().zip(codes) {
        let code = u32::from(code);
        let relative = f32::from_bits((code & 127) << 23 | (code >> 7) << 31);
        *out += value(F::of_single(relative));
    }
}
