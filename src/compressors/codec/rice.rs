//! Ascending indices as Golomb-Rice codes of their gaps, adapted to each block of 256.
//!
//! The gap g = i_j - i_{j-1} - 1 is sent as its `r` low bits and g >> r in unary, as zeros before a
//! one (Golomb, IEEE Trans. Inf. Theory 1966; Rice 1979). The parameter of each block is the one that
//! makes it shortest. Three sections follow each other, so that each can be read by whole words:
//!
//! ```text
//! 5 bits a block: r | low bits, each block to whole bytes | unary parts, one bit string
//! ```
//!
//! Uniform supports: within 1.5 % of log2 C(d, K) bits at K/d of 1 to 10 %; layered ones fall below it.

use super::CODE_BLOCK;
use super::bits::{pack, packed_len, padded_with_zeros, unpack, word_at};
use crate::packet::DecodeError;

/// Bits of a block's parameter.
const PARAMETER: u32 = 5;

/// The most bytes that `count` of `dim` indices take.
///
/// With r = floor(log2 max(1, mean gap)) the n gaps of a block take less than n (r + 3) bits, and the
/// parameter in use is no worse. As the logarithm is concave, all take at most K (log2(d/K) + 3).
pub fn max_len(dim: usize, count: usize) -> usize {
    let blocks = count.div_ceil(CODE_BLOCK);
    let bits = count as f64 * ((dim as f64 / count as f64).log2() + 3.0);
    packed_len(blocks, PARAMETER) + (bits / 8.0).ceil() as usize + 2
}

/// Encoder with its buffers.
#[derive(Default)]
pub struct Encoder {
    parameters: Vec<u32>,
    unary: Vec<u64>,
}

impl Encoder {
    /// Appends the code of ascending indices.
    pub fn write(&mut self, indices: &[u32], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + packed_len(indices.len().div_ceil(CODE_BLOCK), PARAMETER), 0);
        self.parameters.clear();
        self.unary.clear();
        crate::simd::vectorized(
            #[inline(always)]
            || self.write_blocks(indices, out),
        );
        let mut at = start;
        for eight in self.parameters.chunks(8) {
            // Eight parameters of 5 bits make 5 whole bytes.
            let word = (eight.iter().rev()).fold(0, |word, &r| word << PARAMETER | u64::from(r));
            let bytes = packed_len(eight.len(), PARAMETER);
            out[at..at + bytes].copy_from_slice(&word.to_le_bytes()[..bytes]);
            at += bytes;
        }
    }

    #[inline(always)]
    fn write_blocks(&mut self, indices: &[u32], out: &mut Vec<u8>) {
        let mut gaps = [0; CODE_BLOCK];
        let mut lowest = 0;
        let mut end = 0;
        for block in indices.chunks(CODE_BLOCK) {
            let gaps = &mut gaps[..block.len()];
            gaps[0] = block[0] - lowest;
            for (gap, pair) in gaps[1..].iter_mut().zip(block.windows(2)) {
                *gap = pair[1] - pair[0] - 1;
            }
            lowest = block[block.len() - 1].wrapping_add(1);
            let (r, unary) = parameter(gaps);
            self.parameters.push(r);
            pack(gaps, r, out);
            self.unary.resize((end + unary).div_ceil(64), 0);
            end = write_unary(&mut self.unary, end, gaps, r);
        }
        let bytes = end.div_ceil(8);
        out.extend_from_slice(&bytemuck::cast_slice(&self.unary)[..bytes]);
    }
}

/// The parameter that makes a block shortest, and the bits of its unary parts.
///
/// The length is nearly convex in r: the search goes down from the mean gap's logarithm, which
/// bounds the best parameter from above, as long as the block becomes shorter.
#[inline(always)]
fn parameter(gaps: &[u32]) -> (u32, usize) {
    let count = gaps.len() as u32;
    // All gaps together are below the dimension: no sum of them overflows.
    let unary = |r: u32| gaps.iter().map(|gap| gap >> r).sum::<u32>() as usize + gaps.len();
    let mut r = (unary(0) as u32 / count).max(1).ilog2();
    let mut bits = unary(r);
    while r > 0 {
        let shorter = unary(r - 1);
        if shorter >= bits + gaps.len() {
            break;
        }
        (r, bits) = (r - 1, shorter);
    }
    (r, bits)
}

/// Sets the ones of g >> r zeros and a one for each gap behind the first `end` bits; returns the new
/// end.
#[inline(always)]
fn write_unary(words: &mut [u64], mut end: usize, gaps: &[u32], r: u32) -> usize {
    let mut at = end / 64;
    // The word at hand stays in a register: setting bits in memory would wait for the last one.
    let mut word = words[at];
    for gap in gaps {
        let one = end + (gap >> r) as usize;
        words[at] = word;
        word = if one / 64 == at { word } else { 0 };
        at = one / 64;
        word |= 1 << (one % 64);
        end = one + 1;
    }
    words[at] = word;
    end
}

/// Ones of the unary section beyond those of a block: those of its last word, then what a group of
/// eight writes too much.
const AHEAD: usize = 64 + 8;

/// Decoder of one packet's indices.
pub struct Decoder<'a> {
    parameters: &'a [u8],
    lows: &'a [u8],
    unary: &'a [u8],
    /// Positions of ones in the unary section that are not used yet.
    ones: [u32; CODE_BLOCK + AHEAD],
    waiting: usize,
    /// Bytes of the unary section that are read.
    read: usize,
    /// Position of the last one that is used.
    last: u32,
    block: usize,
    /// No index is lower.
    lowest: u64,
    dim: u64,
}

impl<'a> Decoder<'a> {
    /// Reader of `count` indices below `dim`, which take all of `bytes`: no more than the encoder
    /// writes, so that no sum of gaps overflows.
    pub fn new(bytes: &'a [u8], dim: usize, count: usize) -> Result<Self, DecodeError> {
        let most = max_len(dim, count);
        if bytes.len() > most {
            let (found, expected) = (bytes.len() as u64, most as u64);
            return Err(DecodeError::Field { field: "bytes of indices", found, expected });
        }
        let blocks = count.div_ceil(CODE_BLOCK);
        let (parameters, rest) = split(bytes, packed_len(blocks, PARAMETER))?;
        DecodeError::expect(
            "padding",
            padded_with_zeros(parameters, blocks, PARAMETER).into(),
            true.into(),
        )?;
        let lows = (0..blocks)
            .map(|block| {
                packed_len(
                    CODE_BLOCK.min(count - block * CODE_BLOCK),
                    parameter_at(parameters, block),
                )
            })
            .sum();
        let (lows, unary) = split(rest, lows)?;
        Ok(Self {
            parameters,
            lows,
            unary,
            ones: [0; CODE_BLOCK + AHEAD],
            waiting: 0,
            read: 0,
            last: u32::MAX,
            block: 0,
            lowest: 0,
            dim: dim as u64,
        })
    }

    /// The next block of indices, ascending and below the dimension: all of `indices`, which is
    /// [`CODE_BLOCK`] long but for the last.
    #[inline(always)]
    pub fn next(&mut self, indices: &mut [u32]) -> Result<(), DecodeError> {
        let count = indices.len();
        let r = parameter_at(self.parameters, self.block);
        self.block += 1;
        self.refill(count)?;
        unpack(self.lows, r, indices);
        DecodeError::expect("padding", padded_with_zeros(self.lows, count, r).into(), true.into())?;
        self.lows = &self.lows[packed_len(count, r)..];
        let (mut last, mut lowest) = (self.last, self.lowest);
        for (index, &one) in indices.iter_mut().zip(&self.ones) {
            let zeros = one.wrapping_sub(last).wrapping_sub(1);
            last = one;
            let at = lowest + (u64::from(zeros) << r) + u64::from(*index);
            *index = at as u32;
            lowest = at + 1;
        }
        // The indices ascend: the last is the largest.
        if lowest > self.dim {
            return Err(DecodeError::Index { index: lowest - 1, dim: self.dim as usize });
        }
        (self.last, self.lowest) = (last, lowest);
        self.ones.copy_within(count..count + 64, 0);
        self.waiting -= count;
        Ok(())
    }

    /// Reads words of the unary section until `count` ones wait.
    #[inline(always)]
    fn refill(&mut self, count: usize) -> Result<(), DecodeError> {
        while self.waiting < count {
            if self.read >= self.unary.len() {
                let have = self.unary.len();
                return Err(DecodeError::Truncated { need: have + 1, have });
            }
            let mut word = word_at(self.unary, self.read);
            let base = (8 * self.read) as u32;
            let found = word.count_ones() as usize;
            // By eights, whatever their number: a branch per one would be mispredicted.
            for at in (0..found).step_by(8) {
                for place in 0..8 {
                    self.ones[self.waiting + at + place] = base.wrapping_add(word.trailing_zeros());
                    word &= word.wrapping_sub(1);
                }
            }
            self.waiting += found;
            self.read += 8;
        }
        Ok(())
    }

    /// Fails unless the unary section ends with the one that was used last.
    pub fn finish(&self) -> Result<(), DecodeError> {
        let end = self.last.wrapping_add(1).div_ceil(8) as usize;
        DecodeError::expect("indices", self.waiting, 0)?;
        DecodeError::expect("bytes of indices", self.unary.len(), end)
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), DecodeError> {
    bytes.split_at_checked(at).ok_or(DecodeError::Truncated { need: at, have: bytes.len() })
}

/// The parameter of a block; it starts at most 7 bits into a byte.
#[inline(always)]
fn parameter_at(parameters: &[u8], block: usize) -> u32 {
    let bit = block * PARAMETER as usize;
    let pair = [parameters[bit / 8], parameters.get(bit / 8 + 1).copied().unwrap_or(0)];
    u32::from(u16::from_le_bytes(pair) >> (bit % 8)) & ((1 << PARAMETER) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Stream};

    fn written(indices: &[u32]) -> Vec<u8> {
        let mut bytes = vec![];
        let mut encoder = Encoder::default();
        encoder.write(&[0, 1, 2, 4_000_000_000], &mut bytes);
        bytes.clear();
        encoder.write(indices, &mut bytes);
        bytes
    }

    fn read(bytes: &[u8], dim: usize, count: usize) -> Result<Vec<u32>, DecodeError> {
        let mut indices = vec![0; count];
        let mut decoder = Decoder::new(bytes, dim, count)?;
        indices.chunks_mut(CODE_BLOCK).try_for_each(|block| decoder.next(block))?;
        decoder.finish()?;
        Ok(indices)
    }

    /// Each index with probability `share`, as a rule of the draws' low bits.
    fn uniform(dim: usize, share: f64) -> Vec<u32> {
        let mut lanes = Key::shared(3, Stream::Noise).lanes();
        let mut draws = std::iter::repeat_with(move || lanes.draw()).flatten();
        let most = (share * 2f64.powi(32)) as u32;
        (0..dim as u32).filter(|_| draws.next().unwrap() < most).collect()
    }

    fn supports() -> Vec<(usize, Vec<u32>)> {
        let stripes = (0..100_000).filter(|j| j % 1000 < 30 || j % 7777 == 0).collect();
        vec![
            (1, vec![0]),
            (1000, vec![999]),
            (1000, (0..1000).collect()),
            (1000, (0..257).collect()),
            (4_294_967_295, vec![0, 1, 2, 4_294_967_294]),
            (100_000, stripes),
            (100_000, uniform(100_000, 0.3)),
            (100_000, uniform(100_000, 0.01)),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_no_longer_than_said() {
        for (dim, indices) in supports() {
            let bytes = written(&indices);
            assert!(bytes.len() <= max_len(dim, indices.len()), "{} of {dim}", indices.len());
            assert_eq!(read(&bytes, dim, indices.len()), Ok(indices));
        }
    }

    #[test]
    fn uniform_supports_take_within_two_percent_of_the_bound() {
        let dim = 1_000_000;
        for share in [0.01, 0.05, 0.1] {
            let indices = uniform(dim, share);
            // log2 C(d, K) = sum of log2((d - K + j) / j).
            let (d, k) = (dim as f64, indices.len() as f64);
            let bound: f64 = (1..=indices.len()).map(|j| ((d - k) / j as f64 + 1.0).log2()).sum();
            let bits = 8.0 * written(&indices).len() as f64;
            assert!(bits < 1.02 * bound, "{share}: {bits} bits, bound {bound}");
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_as_indices() {
        for (dim, indices) in supports().into_iter().filter(|(_, indices)| indices.len() < 3000) {
            let (bytes, count) = (written(&indices), indices.len());
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], dim, count).is_err(), "{end} of {}", bytes.len());
            }
            assert!(read(&[&bytes[..], &[0]].concat(), dim, count).is_err());
            assert!(read(&bytes, dim, count + 1).is_err());
            for bit in 0..8 * bytes.len() {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = read(&damaged, dim, count) {
                    assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
                    assert!((read[count - 1] as usize) < dim && read != indices);
                }
            }
        }
    }
}
