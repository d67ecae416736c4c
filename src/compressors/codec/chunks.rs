//! Ascending indices as 16-bit positions within chunks of 65,536: u32 entries of each chunk (left out
//! if there is but one chunk), then the positions. Fast to write and to read, 2 bytes an index.

use super::Ascending;
use crate::packet::DecodeError;

const CHUNK: usize = 1 << 16;

/// Bytes that `count` of `dim` indices take.
pub fn len(dim: usize, count: usize) -> usize {
    head(dim) + 2 * count
}

/// Bytes of the numbers of entries.
fn head(dim: usize) -> usize {
    if dim <= CHUNK { 0 } else { 4 * dim.div_ceil(CHUNK) }
}

/// Appends the code of ascending indices below `dim`.
pub fn write(indices: &[u32], dim: usize, out: &mut Vec<u8>) {
    if dim > CHUNK {
        let mut before = 0;
        for chunk in 1..=dim.div_ceil(CHUNK) {
            let end = indices.partition_point(|&index| (index as usize) < chunk * CHUNK);
            out.extend_from_slice(&((end - before) as u32).to_le_bytes());
            before = end;
        }
    }
    let start = out.len();
    out.resize(start + 2 * indices.len(), 0);
    let (positions, _) = out[start..].as_chunks_mut();
    crate::simd::vectorized(
        #[inline(always)]
        || {
            for (position, &index) in positions.iter_mut().zip(indices) {
                *position = (index as u16).to_le_bytes();
            }
        },
    );
}

/// Decoder of one packet's indices.
pub struct Decoder<'a> {
    /// Numbers of entries of the chunks that are not begun.
    counts: &'a [[u8; 4]],
    positions: &'a [[u8; 2]],
    /// First index of the chunk at hand, and how many of its entries are left.
    base: u64,
    left: usize,
    ascending: Ascending,
}

impl<'a> Decoder<'a> {
    /// Reader of `count` indices below `dim`, which take all of `bytes`.
    pub fn new(bytes: &'a [u8], dim: usize, count: usize) -> Result<Self, DecodeError> {
        DecodeError::expect("bytes of indices", bytes.len(), len(dim, count))?;
        let (counts, positions) = bytes.split_at(head(dim));
        let (counts, _) = counts.as_chunks();
        let (positions, _) = positions.as_chunks();
        let (left, base) = match counts {
            [] => (count, 0),
            counts => {
                let total: u64 = counts.iter().map(|&n| u64::from(u32::from_le_bytes(n))).sum();
                DecodeError::expect("entries of all chunks", total as usize, count)?;
                (0, (CHUNK as u64).wrapping_neg())
            }
        };
        Ok(Self { counts, positions, base, left, ascending: Ascending::below(dim) })
    }

    /// The next indices, ascending and below the dimension: all of `indices`.
    #[inline(always)]
    pub fn next(&mut self, indices: &mut [u32]) -> Result<(), DecodeError> {
        let mut rest = &mut *indices;
        while !rest.is_empty() {
            while self.left == 0 {
                let Some((&count, counts)) = self.counts.split_first() else {
                    return Err(DecodeError::Truncated { need: 1, have: 0 });
                };
                (self.left, self.counts) = (u32::from_le_bytes(count) as usize, counts);
                self.base = self.base.wrapping_add(CHUNK as u64);
            }
            let count = rest.len().min(self.left);
            let (now, later) = rest.split_at_mut(count);
            let Some((positions, behind)) = self.positions.split_at_checked(count) else {
                return Err(DecodeError::Truncated { need: count, have: self.positions.len() });
            };
            let base = self.base as u32;
            for (index, &position) in now.iter_mut().zip(positions) {
                *index = base | u32::from(u16::from_le_bytes(position));
            }
            (rest, self.positions) = (later, behind);
            self.left -= count;
        }
        self.ascending.check(indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], dim: usize, count: usize) -> Result<Vec<u32>, DecodeError> {
        let mut indices = vec![0; count];
        let mut decoder = Decoder::new(bytes, dim, count)?;
        indices.chunks_mut(3).try_for_each(|block| decoder.next(block))?;
        Ok(indices)
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let across = vec![0, 65_535, 65_536, 131_071, 262_144, 262_145, 299_999];
        for (dim, indices) in
            [(65_536, vec![3, 4, 65_535]), (65_537, vec![65_536]), (300_000, across)]
        {
            let (mut bytes, count) = (vec![], indices.len());
            write(&indices, dim, &mut bytes);
            assert_eq!(bytes.len(), len(dim, count));
            assert_eq!(read(&bytes, dim, count).as_ref(), Ok(&indices));
            assert!(read(&bytes[1..], dim, count).is_err());
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
