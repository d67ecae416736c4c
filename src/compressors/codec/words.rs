//! Ascending indices as numbers of 32 bits: for few of a long vector, where the numbers of entries of
//! the chunks ([`super::chunks`]) would take more bytes than 16-bit positions save.

use super::Ascending;
use crate::packet::DecodeError;

/// Bytes of an index.
const INDEX: usize = 4;

/// Bytes that `count` indices take.
pub fn len(count: usize) -> usize {
    INDEX * count
}

/// Appends the indices.
pub fn write(indices: &[u32], out: &mut Vec<u8>) {
    out.extend_from_slice(bytemuck::cast_slice(indices));
}

/// Decoder of one packet's indices.
pub struct Decoder<'a> {
    rest: &'a [u8],
    ascending: Ascending,
}

impl<'a> Decoder<'a> {
    /// Reader of `count` indices below `dim`, which take all of `bytes`.
    pub fn new(bytes: &'a [u8], dim: usize, count: usize) -> Result<Self, DecodeError> {
        DecodeError::expect("bytes of indices", bytes.len(), len(count))?;
        Ok(Self { rest: bytes, ascending: Ascending::below(dim) })
    }

    /// The next indices, ascending and below the dimension: all of `indices`.
    #[inline(always)]
    pub fn next(&mut self, indices: &mut [u32]) -> Result<(), DecodeError> {
        let (need, have) = (size_of_val(indices), self.rest.len());
        let Some(taken) = self.rest.split_off(..need) else {
            return Err(DecodeError::Truncated { need, have });
        };
        bytemuck::cast_slice_mut(indices).copy_from_slice(taken);
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
        let dim = 4_000_000_000;
        let indices = vec![0, 1, 65_536, 100_000_000, 100_000_001, dim as u32 - 2, dim as u32 - 1];
        let mut bytes = vec![];
        write(&indices, &mut bytes);
        assert_eq!(bytes.len(), len(7));
        assert_eq!(read(&bytes, dim, 7).as_ref(), Ok(&indices));
        assert!(read(&bytes[1..], dim, 7).is_err() && read(&bytes, dim, 6).is_err());
        assert!(read(&bytes, dim - 1, 7).is_err());
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = read(&damaged, dim, 7) {
                assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
                assert!((read[6] as usize) < dim && read != indices);
            }
        }
    }
}
