//! The packet: one compressed vector of one worker, as it travels.
//!
//! Little-endian, 16 bytes and the payload:
//!
//! ```text
//! u8 magic | u8 version | u8 compressor | u8 index code << 4 | value code
//! u32 dim  | u32 count  | u32 payload bytes                               payload
//! ```
//!
//! The version covers the layout, the generators and the samplers: a change to any changes it.

/// Length of the header in bytes.
pub const HEADER: usize = 16;
/// First byte of every packet.
pub const MAGIC: u8 = 0xb5;
/// Layout, generators and samplers.
pub const VERSION: u8 = 2;

/// A packet or payload that is not what the receiver was promised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DecodeError {
    #[error("packet ends after {have} of {need} bytes")]
    Truncated { need: usize, have: usize },
    #[error("packet field `{field}` is {found}, expected {expected}")]
    Field { field: &'static str, found: u64, expected: u64 },
    #[error("index {index} is not above its predecessor or not below the dimension {dim}")]
    Index { index: u64, dim: usize },
    #[error("a scale, or a part of one, is negative, too large or not a number")]
    Scale,
}

impl DecodeError {
    /// `Ok` if a header field is what it must be.
    pub fn expect(field: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected {
            return Ok(());
        }
        Err(Self::Field { field, found: found as u64, expected: expected as u64 })
    }
}

/// What the header says about the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The compressor's number (its `WIRE` constant).
    pub compressor: u8,
    /// How positions are coded, in the compressor's own numbering (0 to 15).
    pub index_code: u8,
    /// How values are coded, in the compressor's own numbering (0 to 15).
    pub value_code: u8,
    /// Length of the vector.
    pub dim: usize,
    /// Number of coded entries (or parts).
    pub count: usize,
}

impl Header {
    /// `Ok` if every field is that of another header.
    pub fn expect(self, other: Self) -> Result<(), DecodeError> {
        DecodeError::expect("compressor", self.compressor.into(), other.compressor.into())?;
        DecodeError::expect("index code", self.index_code.into(), other.index_code.into())?;
        DecodeError::expect("value code", self.value_code.into(), other.value_code.into())?;
        DecodeError::expect("dim", self.dim, other.dim)?;
        DecodeError::expect("count", self.count, other.count)
    }
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The header, its magic, version and length already checked.
    pub header: Header,
    /// The bytes behind it.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes the first packet off `bytes` and returns it with what follows.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(DecodeError::Truncated { need: HEADER, have: bytes.len() });
        };
        let word = |at: usize| {
            u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
        };
        DecodeError::expect("magic", head[0].into(), MAGIC.into())?;
        DecodeError::expect("version", head[1].into(), VERSION.into())?;
        let length = word(12);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            return Err(DecodeError::Truncated { need: length, have: rest.len() });
        };
        let header = Header {
            compressor: head[2],
            index_code: head[3] >> 4,
            value_code: head[3] & 15,
            dim: word(4),
            count: word(8),
        };
        Ok((Self { header, payload }, rest))
    }
}

/// Appends a packet to `out`; `payload` appends its bytes behind the header.
///
/// # Panics
/// If `dim`, `count` or the payload's length does not fit 32 bits: the plan refuses such vectors.
pub fn write(out: &mut Vec<u8>, header: Header, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let word = |v: usize| u32::try_from(v).expect("the plan bounds packets by 4 GiB").to_le_bytes();
    out.extend([MAGIC, VERSION, header.compressor, header.index_code << 4 | header.value_code]);
    out.extend(word(header.dim));
    out.extend(word(header.count));
    out.extend([0; 4]);
    payload(out);
    let length = word(out.len() - start - HEADER);
    out[start + 12..start + HEADER].copy_from_slice(&length);
}

/// Code of raw values: numbers of the run's precision, as they are. The code is their width in bytes.
pub fn raw_value_code<F: crate::scalar::Scalar>() -> u8 {
    F::BYTES as u8
}

/// The payload's raw values of type `F`.
pub fn values<F: crate::scalar::Scalar>(
    payload: &[u8],
    count: usize,
) -> Result<impl ExactSizeIterator<Item = F> + '_, DecodeError> {
    DecodeError::expect("payload bytes", payload.len(), count.saturating_mul(F::BYTES))?;
    Ok(payload.chunks_exact(F::BYTES).map(bytemuck::pod_read_unaligned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Header =
        Header { compressor: 7, index_code: 2, value_code: 4, dim: 1000, count: 3 };

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = vec![];
        write(&mut bytes, HEAD, |out| out.extend([1, 2, 3]));
        write(&mut bytes, HEAD, |_| {});
        let (first, rest) = Packet::split(&bytes).unwrap();
        assert_eq!((first.header, first.payload), (HEAD, &[1, 2, 3][..]));
        let (second, rest) = Packet::split(rest).unwrap();
        assert_eq!((second.payload.len(), rest.len()), (0, 0));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut bytes = vec![];
        write(&mut bytes, HEAD, |out| out.extend([1, 2, 3]));
        for end in 0..bytes.len() {
            assert!(matches!(Packet::split(&bytes[..end]), Err(DecodeError::Truncated { .. })));
        }
        bytes[0] ^= 1;
        assert!(matches!(Packet::split(&bytes), Err(DecodeError::Field { field: "magic", .. })));
    }
}
