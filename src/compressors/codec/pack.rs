//! Packing of small symbols into bytes.
//!
//! A bucket of n symbols is packed in planes where vector instructions like it: with p symbols a byte
//! and h = ceil(n/p), byte i holds the symbols i, i + h, i + 2h, .. What a byte has no symbol for is 0.
//! Other widths lie bit after bit ([`bits`]).

use super::bits;
use crate::packet::DecodeError;

/// Five trits a byte: 3^5 = 243.
const TRITS: usize = 5;

/// Appends the first `len` symbols of `width` bits (1 to 16), [`bits::packed_len`] bytes; behind them
/// `symbols` holds a few zeros.
#[inline(always)]
pub fn pack(symbols: &[u16], len: usize, width: u32, out: &mut Vec<u8>) {
    if !matches!(width, 4 | 8) {
        return bits::pack(&symbols[..len], width, out);
    }
    let start = out.len();
    out.resize(start + bits::packed_len(len, width), 0);
    let bytes = &mut out[start..];
    if width == 8 {
        return bytes.iter_mut().zip(symbols).for_each(|(byte, symbol)| *byte = *symbol as u8);
    }
    let (low, high) = symbols.split_at(len.div_ceil(2));
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = (low | high << 4) as u8;
    }
}

/// Undoes [`pack`] into `symbols` [len]; bits that no symbol has must be 0.
#[inline(always)]
pub fn unpack(bytes: &[u8], width: u32, symbols: &mut [u16]) -> Result<(), DecodeError> {
    match width {
        4 => {
            let (low, high) = symbols.split_at_mut(symbols.len().div_ceil(2));
            low.iter_mut().zip(bytes).for_each(|(low, byte)| *low = u16::from(byte & 15));
            high.iter_mut().zip(bytes).for_each(|(high, byte)| *high = u16::from(byte >> 4));
            let unpaired = &bytes[high.len()..];
            padding(unpaired.iter().fold(0, |any, byte| any | u64::from(byte >> 4)))
        }
        8 => {
            symbols.iter_mut().zip(bytes).for_each(|(symbol, byte)| *symbol = u16::from(*byte));
            Ok(())
        }
        _ => {
            bits::unpack(bytes, width, symbols);
            let padded = bits::padded_with_zeros(bytes, symbols.len(), width);
            padding(u64::from(!padded))
        }
    }
}

fn padding(bits: u64) -> Result<(), DecodeError> {
    if bits == 0 {
        return Ok(());
    }
    Err(DecodeError::Field { field: "padding", found: bits, expected: 0 })
}

/// Bytes of `len` trits.
pub fn trits_len(len: usize) -> usize {
    len.div_ceil(TRITS)
}

/// Packs trits 0, 1, 2 to `bytes` [`trits_len`] in five planes; behind them `trits` holds a few zeros.
#[inline(always)]
pub fn pack_trits(trits: &[u16], bytes: &mut [u8]) {
    let plane = bytes.len();
    let planes: [&[u16]; TRITS] = std::array::from_fn(|k| &trits[k * plane..(k + 1) * plane]);
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = planes.iter().rev().fold(0, |sum, plane| 3 * sum + plane[i]) as u8;
    }
}

/// out += scale t, t = 0, 1, -1 for the trits 0, 1, 2 in `bytes` [`trits_len(out.len())`].
#[inline(always)]
pub fn add_trits<F: crate::scalar::Scalar>(bytes: &[u8], scale: F, out: &mut [F]) {
    if bytes.is_empty() {
        return;
    }
    let mut planes = out.chunks_mut(bytes.len());
    let mut plane = || planes.next().unwrap_or_default();
    add_plane::<F, 1>(bytes, scale, plane());
    add_plane::<F, 3>(bytes, scale, plane());
    add_plane::<F, 9>(bytes, scale, plane());
    add_plane::<F, 27>(bytes, scale, plane());
    add_plane::<F, 81>(bytes, scale, plane());
}

#[inline(always)]
fn add_plane<F: crate::scalar::Scalar, const POWER: u16>(bytes: &[u8], scale: F, out: &mut [F]) {
    for (out, &byte) in out.iter_mut().zip(bytes) {
        let trit = i32::from(u16::from(byte) / POWER % 3);
        *out += F::of_int((trit & 1) - (trit >> 1)) * scale;
    }
}

/// Whether `bytes` may hold `len` trits: each below 3^5, and trits that there are no entries for 0.
#[inline(always)]
pub fn check_trits(bytes: &[u8], len: usize) -> Result<(), DecodeError> {
    let highest = bytes.iter().fold(0, |highest: u8, &byte| highest.max(byte));
    if highest > 242 {
        let found = highest.into();
        return Err(DecodeError::Field { field: "five trits", found, expected: 242 });
    }
    // Byte i has trits for the entries i + k h below len.
    let plane = bytes.len();
    let spare = bytes.iter().enumerate().rev().take(TRITS.min(plane));
    let padded = spare.map(|(i, &byte)| {
        let held = (0..TRITS).take_while(|k| i + k * plane < len).count();
        u64::from(byte) / 3u64.pow(held as u32)
    });
    padding(padded.fold(0, |any, pad| any | pad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_and_padding_is_checked() {
        for width in 1..=16 {
            for len in [0, 1, 2, 3, 5, 8, 31, 64, 100] {
                let mask = ((1u32 << width) - 1) as u16;
                let mut symbols: Vec<u16> =
                    (0..len as u32).map(|i| (i * 40503 + 7) as u16).collect();
                symbols.iter_mut().for_each(|symbol| *symbol &= mask);
                let mut bytes = vec![];
                let padded = [&symbols[..], &[0; 8]].concat();
                pack(&padded, len, width, &mut bytes);
                assert_eq!(bytes.len(), bits::packed_len(len, width));
                let mut back = vec![0; len];
                assert_eq!(unpack(&bytes, width, &mut back), Ok(()));
                assert_eq!(back, symbols, "{len} of {width} bits");
                if !(len * width as usize).is_multiple_of(8) {
                    *bytes.last_mut().expect("a byte") |= 0x80;
                    assert!(unpack(&bytes, width, &mut back).is_err(), "{len} of {width} bits");
                }
            }
        }
    }

    #[test]
    fn trits_come_back_and_padding_is_checked() {
        for len in 1..=40 {
            let trits: Vec<u16> =
                (0..len + 5).map(|i| (i * i % 7 % 3) as u16 * u16::from(i < len)).collect();
            let mut bytes = vec![0; trits_len(len)];
            pack_trits(&[&trits[..], &[0; 5]].concat(), &mut bytes);
            assert_eq!(check_trits(&bytes, len), Ok(()));
            let mut out = vec![0.0f32; len];
            add_trits(&bytes, 2.0, &mut out);
            let expected: Vec<f32> =
                trits[..len].iter().map(|&t| [0.0, 2.0, -2.0][t as usize]).collect();
            assert_eq!(out, expected);
            for at in 0..bytes.len() {
                let mut wrong = bytes.clone();
                wrong[at] = 243;
                assert!(check_trits(&wrong, len).is_err());
                let held = (0..TRITS).filter(|k| at + k * bytes.len() < len).count();
                wrong[at] = 3u8.pow(held as u32 - 1) - 1;
                assert!(check_trits(&wrong, len).is_ok());
                if held < TRITS {
                    wrong[at] = 3u8.pow(held as u32);
                    assert!(check_trits(&wrong, len).is_err(), "byte {at} of {len} trits");
                }
            }
        }
    }
}
