//! Numbers of a fixed width, bit after bit, the lowest first.

use num_traits::AsPrimitive;

/// Bytes that `count` numbers of `width` bits take.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the `width` low bits of each number, then zeros up to a whole byte.
///
/// # Panics
/// If the width is above 32.
#[inline(always)]
pub fn pack<N: Copy + Into<u32>>(numbers: &[N], width: u32, out: &mut Vec<u8>) {
    assert!(width <= 32);
    if width == 0 {
        return;
    }
    let mask = u32::MAX >> (32 - width);
    let (eights, rest) = numbers.as_chunks::<8>();
    if width <= 8 {
        // Eight numbers make `width` whole bytes of one word.
        for eight in eights {
            let word = (eight.iter().rev())
                .fold(0u64, |word, &number| word << width | u64::from(number.into() & mask));
            out.extend_from_slice(&word.to_le_bytes());
            out.truncate(out.len() - (8 - width as usize));
        }
    }
    let rest = if width <= 8 { rest } else { numbers };
    let start = out.len();
    out.resize(start + packed_len(rest.len(), width), 0);
    let (quads, last) = out[start..].as_chunks_mut::<4>();
    let mut quads = quads.iter_mut();
    let (mut word, mut filled) = (0u64, 0);
    for &number in rest {
        word |= u64::from(number.into() & mask) << filled;
        filled += width;
        if filled >= 32 {
            if let Some(quad) = quads.next() {
                *quad = (word as u32).to_le_bytes();
            }
            word >>= 32;
            filled -= 32;
        }
    }
    // Fewer than 32 bits are left: a whole quad of bytes, or the last ones.
    let left = quads.next().map_or(last, |quad| &mut quad[..]);
    left.copy_from_slice(&word.to_le_bytes()[..left.len()]);
}

/// The 8 bytes from `at` on as a number; what is behind the end is zero.
#[inline(always)]
pub fn word_at(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        return u64::from_le_bytes(*word);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Reads as many numbers as `numbers` holds; what is behind the end of `bytes` is zero.
///
/// # Panics
/// If the width is above 32.
#[inline(always)]
pub fn unpack<N: Copy + 'static>(bytes: &[u8], width: u32, numbers: &mut [N])
where
    u32: AsPrimitive<N>,
{
    assert!(width <= 32);
    let mask = ((1u64 << width) - 1) as u32;
    if width > 8 {
        let (quads, last) = bytes.as_chunks::<4>();
        let mut padded = [0; 4];
        padded[..last.len()].copy_from_slice(last);
        let mut quads = quads.iter().copied().chain([padded]);
        let (mut word, mut held) = (0u64, 0);
        for number in numbers {
            if held < width {
                word |= u64::from(u32::from_le_bytes(quads.next().unwrap_or_default())) << held;
                held += 32;
            }
            *number = (word as u32 & mask).as_();
            word >>= width;
            held -= width;
        }
        return;
    }
    for (at, eight) in numbers.chunks_mut(8).enumerate() {
        let word = word_at(bytes, at * width as usize);
        for (place, number) in (0..).zip(eight) {
            *number = ((word >> (place * width)) as u32 & mask).as_();
        }
    }
}

/// Whether the bits behind `count` numbers of `width` bits, up to the end of the byte, are zero.
pub fn padded_with_zeros(bytes: &[u8], count: usize, width: u32) -> bool {
    let used = count * width as usize;
    used.is_multiple_of(8) || bytes.get(used / 8).is_none_or(|&byte| byte >> (used % 8) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for width in 0..=32 {
            for count in [0, 1, 7, 8, 9, 31, 256, 257] {
                let numbers: Vec<u32> = (1..=count as u32)
                    .map(|n| (u64::from(n.wrapping_mul(0x9e37_79b9)) & ((1 << width) - 1)) as u32)
                    .collect();
                let mut bytes = vec![9];
                pack(&numbers, width, &mut bytes);
                assert_eq!(bytes.len(), 1 + packed_len(count, width), "{count} of {width} bits");
                assert!(padded_with_zeros(&bytes[1..], count, width));
                let mut read = vec![7; count];
                unpack(&bytes[1..], width, &mut read);
                assert_eq!(read, numbers, "{count} of {width} bits");
            }
        }
    }

    #[test]
    fn reading_behind_the_end_gives_zeros() {
        let mut read = [7; 9];
        unpack(&[0xff], 5, &mut read);
        assert_eq!(read, [31, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!padded_with_zeros(&[0xff], 1, 5));
    }
}
