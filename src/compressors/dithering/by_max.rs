//! Dithering in levels of each bucket's largest magnitude.

use super::{Format, Norm, PRELUDE};
use crate::compressors::codec::bits::packed_len;
use crate::compressors::codec::pack::{pack, unpack};
use crate::compressors::codec::quantise::{
    Dice, Grid, add_symbols, per_scale, quantise, symbols_len,
};
use crate::compressors::codec::scale::{largest, read_scale};
use crate::compressors::{Bound, Compressor, NotFinite};
use crate::key::{Key, Lanes};
use crate::packet::{self, DecodeError, HEADER, Packet};
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// Scale: the largest magnitude.
pub(super) struct ByMax {
    format: Format,
    /// Symbols of a bucket.
    symbols: Vec<u16>,
}

impl ByMax {
    /// Dithering of this format; `symbols` has room for those of a bucket.
    pub(super) fn new(format: Format, symbols: Vec<u16>) -> Self {
        Self { format, symbols }
    }

    #[inline(always)]
    fn encode_buckets<F: Scalar>(
        &mut self,
        v: &[F],
        mut lanes: Lanes,
        out: &mut Vec<u8>,
    ) -> Result<(), NotFinite> {
        let Format { bucket, levels, shift, dice, .. } = self.format;
        // The scale of a bucket is found while the one before is being rounded: a chain of slow
        // operations behind another's many independent ones.
        let mut buckets = v.chunks(bucket);
        let mut next = Graded::of(buckets.next(), levels)?;
        while let Some(Graded { v, scale, grid }) = next {
            next = Graded::of(buckets.next(), levels)?;
            let symbols = &mut self.symbols[..symbols_len(v.len())];
            quantise(v, grid, shift, dice, &mut lanes, symbols);
            out.extend_from_slice(bytemuck::bytes_of(&scale));
            pack(symbols, v.len(), shift + 1, out);
        }
        Ok(())
    }

    #[inline(always)]
    fn add_buckets<F: Scalar>(
        &mut self,
        mut rest: &[u8],
        by: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Format { bucket, levels, shift, .. } = self.format;
        let c = per_scale::<F>(levels);
        for out in out.chunks_mut(bucket) {
            let (scale, bytes) = rest.split_at(F::BYTES);
            let (bytes, behind) = bytes.split_at(packed_len(out.len(), shift + 1));
            rest = behind;
            let scale = read_scale::<F>(scale)? * by;
            let symbols = &mut self.symbols[..out.len()];
            unpack(bytes, shift + 1, symbols)?;
            check_levels(symbols, levels, shift)?;
            add_symbols(symbols, shift, c, scale, out);
        }
        Ok(())
    }
}

/// A bucket with its scale and levels.
struct Graded<'a, F> {
    v: &'a [F],
    scale: F,
    grid: Grid<F>,
}

impl<'a, F: Scalar> Graded<'a, F> {
    #[inline(always)]
    fn of(bucket: Option<&'a [F]>, levels: usize) -> Result<Option<Self>, NotFinite> {
        let Some(v) = bucket else { return Ok(None) };
        let scale = largest(v)?;
        Ok(Some(Self { v, scale, grid: Grid::new(scale, levels) }))
    }
}

#[inline(always)]
fn check_levels(symbols: &[u16], levels: usize, shift: u32) -> Result<(), DecodeError> {
    let mask = ((1u32 << shift) - 1) as u16;
    if usize::from(mask) == levels {
        return Ok(());
    }
    let highest = symbols.iter().fold(0, |highest: u16, symbol| highest.max(symbol & mask));
    if usize::from(highest) <= levels {
        return Ok(());
    }
    let (found, expected) = (highest.into(), levels as u64);
    Err(DecodeError::Field { field: "highest level", found, expected })
}

impl<F: Scalar> Compressor<F> for ByMax {
    fn bound(&self) -> Bound {
        let others = self.format.held() as f64 - 1.0;
        let squared = (self.format.levels as f64).powi(2);
        match self.format.dice {
            Dice::None => Bound::Contractive { delta: squared / (squared + others / 4.0) },
            _ => Bound::Unbiased { omega: ((1.0 + others / squared).sqrt() - 1.0) / 2.0 },
        }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        out.reserve(Compressor::<F>::max_packet(self));
        let mut result = Ok(());
        packet::write(out, self.format.header::<F>(Norm::Max), |out| {
            self.format.write_prelude(out);
            result = vectorized(
                #[inline(always)]
                || self.encode_buckets(v, key.lanes(), out),
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
        let buckets = self.format.open(packet, Norm::Max, out)?;
        let expected = self.format.scales_len::<F>() + self.format.symbols_len();
        DecodeError::expect("bytes of buckets", buckets.len(), expected)?;
        vectorized(
            #[inline(always)]
            || self.add_buckets(buckets, scale, out),
        )
    }

    fn max_packet(&self) -> usize {
        HEADER + PRELUDE + self.format.scales_len::<F>() + self.format.symbols_len()
    }
}
