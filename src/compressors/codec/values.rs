//! How the values of a sparse packet are coded, and what each code loses.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::scale::{largest, smallest};
use super::{CODE_BLOCK, levels};
use crate::compressors::NotFinite;
use crate::packet::DecodeError;
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// A code of values. Scales are numbers of the run's precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueCode {
    /// As they are.
    Raw,
    /// v/s in single precision, s the largest magnitude (in runs of double precision).
    Single,
    /// v/s in half precision (IEEE 754 binary16), s the largest magnitude.
    Half,
    /// Sign and one of 128 magnitudes, see [`levels`].
    Bytes,
    /// Sign and one of 8 magnitudes, see [`levels`].
    Nibbles,
    /// The sign; the magnitude of all is their mean.
    Signs,
}

use ValueCode::{Bytes, Half, Nibbles, Raw, Signs, Single};

impl ValueCode {
    /// Number in a packet's header; codes of double-precision runs lie 8 above the others.
    pub fn number<F: Scalar>(self) -> u8 {
        let number = match self {
            Raw => return F::BYTES as u8,
            Half => 1,
            Bytes => 2,
            Nibbles => 3,
            Single => 4,
            Signs => 5,
        };
        if F::BYTES == 8 { 8 + number } else { number }
    }

    /// Bytes that `count` values take.
    pub fn len<F: Scalar>(self, count: usize) -> usize {
        let extremes = F::BYTES * (1 + count.div_ceil(CODE_BLOCK));
        match self {
            Raw => F::BYTES * count,
            Single => F::BYTES + 4 * count,
            Half => F::BYTES + 2 * count,
            Bytes => extremes + count,
            Nibbles => extremes + count.div_ceil(2),
            Signs => F::BYTES + count.div_ceil(8),
        }
    }

    /// delta of a compressor that keeps at least `kept |v|^2` in `count` entries and codes them so.
    ///
    /// A code that loses at most e of what is kept leaves an error of (1 - kept (1 - e)) |v|^2.
    /// A rounded v/s is off by 2^-p |v| (p = 11 or 24) or, where it is subnormal, by 2^-q s
    /// (q = 25 or 150), as much again when multiplied out; s^2 is at most the sum of the squares.
    /// The levels' e has room for rounding in single precision. K equal magnitudes mu leave
    /// |v|^2 - K mu^2 with K^2 mu^2 >= sum v_j^2 >= kept |v|^2: delta is at least kept / K.
    pub fn delta(self, kept: f64, count: usize) -> f64 {
        let rounded = |p: i32, q: i32| 4.0 * (2f64.powi(-2 * p) + count as f64 * 2f64.powi(-2 * q));
        let lost = match self {
            Raw => 0.0,
            Single => rounded(24, 150),
            Half => rounded(11, 25),
            Bytes => levels::lost(8, count) + 1e-5,
            Nibbles => levels::lost(4, count) + 1e-5,
            Signs => 1.0 - 1.0 / count as f64,
        };
        kept * (1.0 - lost)
    }

    /// Appends the code of the values. It fails if one is not finite.
    pub fn write<F: Scalar>(self, values: &[F], out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let largest = vectorized(
            #[inline(always)]
            || largest(values),
        )?;
        let start = out.len();
        if self == Raw {
            out.extend_from_slice(bytemuck::cast_slice(values));
            return Ok(());
        }
        out.resize(start + self.len::<F>(values.len()), 0);
        let out = &mut out[start..];
        vectorized(
            #[inline(always)]
            || match self {
                Raw => Ok(()),
                Single | Half => {
                    write_scaled(self, values, largest, out);
                    Ok(())
                }
                Bytes => write_levels(8, values, out),
                Nibbles => write_levels(4, values, out),
                Signs => {
                    write_signs(values, largest, out);
                    Ok(())
                }
            },
        )
    }

    /// Reader of `count` values, which take all of `bytes`.
    pub fn decoder<F: Scalar>(
        self,
        bytes: &[u8],
        count: usize,
    ) -> Result<Decoder<'_, F>, DecodeError> {
        DecodeError::expect("bytes of values", bytes.len(), self.len::<F>(count))?;
        let (scales, symbols) = bytes.split_at(match self {
            Raw => 0,
            Single | Half | Signs => F::BYTES,
            Bytes | Nibbles => F::BYTES * (1 + count.div_ceil(CODE_BLOCK)),
        });
        let mut all = scales.chunks_exact(F::BYTES).map(bytemuck::pod_read_unaligned);
        let scale = all.next().unwrap_or(F::zero());
        let fits = |v: F| v.is_finite() && v.is_sign_positive() && v >= scale;
        if !fits(scale) || !all.all(fits) {
            return Err(DecodeError::Scale);
        }
        let most = scales.get(F::BYTES..).unwrap_or_default();
        Ok(Decoder { code: self, scale, most, symbols })
    }
}

#[inline(always)]
fn put<F: Scalar>(v: F, out: &mut [u8]) -> &mut [u8] {
    let (head, rest) = out.split_at_mut(F::BYTES);
    head.copy_from_slice(bytemuck::bytes_of(&v));
    rest
}

#[inline(always)]
fn write_scaled<F: Scalar>(code: ValueCode, values: &[F], scale: F, out: &mut [u8]) {
    let mut out = put(scale, out);
    let scale = if scale == F::zero() { F::one() } else { scale };
    let mut parts = [0f32; CODE_BLOCK];
    let mut halves = [0u16; CODE_BLOCK];
    for block in values.chunks(CODE_BLOCK) {
        let parts = &mut parts[..block.len()];
        parts.iter_mut().zip(block).for_each(|(part, &v)| *part = (v / scale).wide() as f32);
        let halves = &mut halves[..block.len()];
        let bytes: &[u8] = if code == Half {
            halves.reinterpret_cast_mut::<f16>().convert_from_f32_slice(parts);
            bytemuck::cast_slice(halves)
        } else {
            bytemuck::cast_slice(parts)
        };
        let (now, later) = out.split_at_mut(bytes.len());
        now.copy_from_slice(bytes);
        out = later;
    }
}

#[inline(always)]
fn write_levels<F: Scalar>(bits: u32, values: &[F], out: &mut [u8]) -> Result<(), NotFinite> {
    let least = smallest(values);
    let out = put(least, out);
    let (mut extremes, mut out) = out.split_at_mut(F::BYTES * values.len().div_ceil(CODE_BLOCK));
    let mut symbols = [0; CODE_BLOCK];
    for block in values.chunks(CODE_BLOCK) {
        let most = largest(block)?;
        extremes = put(most, extremes);
        let symbols = &mut symbols[..block.len()];
        levels::symbols(bits, block, least, most, symbols);
        let (now, later) =
            out.split_at_mut(if bits == 8 { block.len() } else { block.len().div_ceil(2) });
        match bits {
            8 => now.copy_from_slice(symbols),
            _ => levels::pack_nibbles(symbols, now),
        }
        out = later;
    }
    Ok(())
}

#[inline(always)]
fn write_signs<F: Scalar>(values: &[F], largest: F, out: &mut [u8]) {
    // Exact, and the sum of 2^32 numbers does not overflow.
    let unit = if largest.wide() > 2f64.powi(900) { 2f64.powi(-100) } else { 1.0 };
    let mut sums = [0.0; 16];
    for chunk in values.chunks(16) {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += v.wide().abs() * unit);
    }
    let mean = sums.iter().sum::<f64>() / values.len() as f64 / unit;
    // Rounding must not lift the mean of equal magnitudes above them.
    let mean = mean.min(largest.wide());
    let out = put(F::lit(mean), out);
    for (byte, eight) in out.iter_mut().zip(values.chunks(8)) {
        *byte = (eight.iter().rev()).fold(0, |byte, v| byte << 1 | u8::from(v.is_sign_negative()));
    }
}

/// Decoder of one packet's values.
pub struct Decoder<'a, F> {
    code: ValueCode,
    scale: F,
    /// Largest magnitudes of the blocks to come.
    most: &'a [u8],
    /// What is not decoded yet.
    symbols: &'a [u8],
}

impl<'a, F: Scalar> Decoder<'a, F> {
    /// The next block of values: all of `values`, which is [`CODE_BLOCK`] long but for the last.
    #[inline(always)]
    pub fn next(&mut self, values: &mut [F]) -> Result<(), DecodeError> {
        match self.code {
            Raw => {
                let bytes = self.take(size_of_val(values))?;
                bytemuck::cast_slice_mut(values).copy_from_slice(bytes);
            }
            Single => {
                let bytes = self.take(4 * values.len())?;
                let mut parts = [0f32; CODE_BLOCK];
                let parts = &mut parts[..values.len()];
                bytemuck::cast_slice_mut(parts).copy_from_slice(bytes);
                self.scale_parts(parts, values)?;
            }
            Half => {
                let bytes = self.take(2 * values.len())?;
                let (mut halves, mut parts) = ([0u16; CODE_BLOCK], [0f32; CODE_BLOCK]);
                let (halves, parts) = (&mut halves[..values.len()], &mut parts[..values.len()]);
                bytemuck::cast_slice_mut(halves).copy_from_slice(bytes);
                halves.reinterpret_cast::<f16>().convert_to_f32_slice(parts);
                self.scale_parts(parts, values)?;
            }
            Bytes => {
                let symbols = self.take(values.len())?;
                levels::values(8, symbols, self.scale, self.next_most()?, values);
            }
            Nibbles => {
                let bytes = self.take(values.len().div_ceil(2))?;
                if values.len() % 2 == 1 {
                    let last = bytes.last().map_or(0, |byte| byte >> 4);
                    DecodeError::expect("padding", last.into(), 0)?;
                }
                let mut symbols = [0; CODE_BLOCK];
                let symbols = &mut symbols[..values.len()];
                levels::unpack_nibbles(bytes, symbols);
                levels::values(4, symbols, self.scale, self.next_most()?, values);
            }
            Signs => {
                let bytes = self.take(values.len().div_ceil(8))?;
                for (eight, &byte) in values.chunks_mut(8).zip(bytes) {
                    for (place, v) in eight.iter_mut().enumerate() {
                        *v = if byte >> place & 1 == 1 { -self.scale } else { self.scale };
                    }
                    let padding = u32::from(byte) >> eight.len();
                    DecodeError::expect("padding", padding as usize, 0)?;
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn scale_parts(&self, parts: &[f32], values: &mut [F]) -> Result<(), DecodeError> {
        let mut fit = true;
        for (v, &part) in values.iter_mut().zip(parts) {
            fit &= part.abs() <= 1.0;
            *v = self.scale * F::lit(part.into());
        }
        if fit { Ok(()) } else { Err(DecodeError::Scale) }
    }

    #[inline(always)]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let have = self.symbols.len();
        let taken = self.symbols.split_off(..bytes);
        taken.ok_or(DecodeError::Truncated { need: bytes, have })
    }

    #[inline(always)]
    fn next_most(&mut self) -> Result<F, DecodeError> {
        let have = self.most.len();
        let taken = self.most.split_off(..F::BYTES);
        taken
            .map(bytemuck::pod_read_unaligned)
            .ok_or(DecodeError::Truncated { need: F::BYTES, have })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [ValueCode; 6] = [Raw, Single, Half, Bytes, Nibbles, Signs];

    fn written<F: Scalar>(code: ValueCode, v: &[F]) -> Vec<u8> {
        let mut bytes = vec![];
        code.write(v, &mut bytes).unwrap();
        bytes
    }

    fn read<F: Scalar>(code: ValueCode, bytes: &[u8], count: usize) -> Result<Vec<F>, DecodeError> {
        let mut values = vec![F::zero(); count];
        let mut decoder = code.decoder(bytes, count)?;
        values.chunks_mut(CODE_BLOCK).try_for_each(|block| decoder.next(block))?;
        Ok(values)
    }

    /// What a code loses is at most what its delta says, on vectors that are kept entirely.
    fn loses_no_more_than_said<F: Scalar>() {
        for count in [1, 2, 7, 255, 256, 257, 700] {
            let ramp = |j: usize| F::lit((j as f64 - count as f64 / 3.0) * 1e-2);
            let spike = |j: usize| F::lit(if j == count / 2 { 1.0 } else { -0.017 });
            let wide = |j: usize| F::lit(0.9f64.powi(j as i32));
            let cases = [
                (0..count).map(ramp).collect::<Vec<F>>(),
                (0..count).map(spike).collect(),
                (0..count).map(wide).collect(),
                vec![F::zero(); count],
                vec![F::lit(-0.3); count],
                vec![F::max_value() * F::lit(-1.0); count],
                (0..count).map(|j| F::min_positive_value() * ramp(j)).collect(),
            ];
            for (code, v) in CODES.into_iter().flat_map(|code| cases.iter().map(move |v| (code, v)))
            {
                let bytes = written(code, v);
                assert_eq!(bytes.len(), code.len::<F>(count));
                let read = read::<F>(code, &bytes, count).unwrap();
                // Squares neither overflow nor underflow.
                let unit = largest(v).unwrap().wide().max(f64::MIN_POSITIVE);
                let square = |v: f64| (v / unit).powi(2);
                let size: f64 = v.iter().map(|v| square(v.wide())).sum();
                let off: f64 = v.iter().zip(&read).map(|(v, c)| square(v.wide() - c.wide())).sum();
                let subnormal = unit < F::min_positive_value().wide() * 1e4;
                let most = if subnormal { size } else { (1.0 - code.delta(1.0, count)) * size };
                assert!(
                    off <= most + 1e-12 * size,
                    "{code:?} [{count}]: {off} of {size}, said {most}"
                );
            }
        }
    }

    #[test]
    fn codes_lose_no_more_than_said() {
        loses_no_more_than_said::<f32>();
        loses_no_more_than_said::<f64>();
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for (code, bad) in
            CODES.into_iter().flat_map(|c| [f32::NAN, -f32::INFINITY].map(|b| (c, b)))
        {
            for at in [0, 40, 299] {
                let mut v = vec![1.0; 300];
                v[at] = bad;
                assert_eq!(code.write(&v, &mut vec![]), Err(NotFinite), "{code:?} {at}");
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_as_numbers() {
        let v: Vec<f32> = (0..301).map(|j| 1.0 + j as f32).collect();
        for code in CODES {
            let bytes = written(code, &v);
            assert!(read::<f32>(code, &bytes[1..], 301).is_err());
            for bit in 0..8 * bytes.len() {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = read::<f32>(code, &damaged, 301) {
                    assert!(code == Raw || read.iter().all(|v| v.is_finite()), "{code:?} {bit}");
                }
            }
        }
        // Scales below zero, not finite, or a block's largest below the smallest of all.
        for bad in [-1.0f32, f32::NAN, f32::INFINITY] {
            let mut bytes = written(Half, &v);
            bytes[..4].copy_from_slice(&bad.to_le_bytes());
            assert_eq!(read::<f32>(Half, &bytes, 301), Err(DecodeError::Scale));
        }
        let mut bytes = written(Nibbles, &v);
        bytes[4..8].copy_from_slice(&0.5f32.to_le_bytes());
        assert_eq!(read::<f32>(Nibbles, &bytes, 301), Err(DecodeError::Scale));
    }
}
