//! Dithering in levels of each bucket's Euclidean norm, entropy-coded.

use super::{Format, Norm, PRELUDE};
use crate::compressors::codec::entropy::{self, Rans};
use crate::compressors::codec::quantise::{self, Grid, per_scale, quantise, symbols_len};
use crate::compressors::codec::scale::{norm, read_scale};
use crate::compressors::{Bound, Compressor, NotFinite};
use crate::key::{Key, Lanes};
use crate::packet::{self, DecodeError, HEADER, Packet};
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// Scale: the Euclidean norm.
pub(super) struct ByNorm {
    format: Format,
    /// Symbols of a bucket.
    symbols: Vec<u16>,
    /// All symbols as the coder takes them: 0, 1, -1, 2, -2, ..
    all: Vec<u8>,
    coder: Rans,
}

impl ByNorm {
    /// Dithering of this format; `symbols` has room for those of a bucket.
    pub(super) fn new(format: Format, symbols: Vec<u16>) -> Self {
        let all = Vec::with_capacity(format.dim);
        Self { format, symbols, all, coder: Rans::default() }
    }

    #[inline(always)]
    fn encode_buckets<F: Scalar>(
        &mut self,
        v: &[F],
        mut lanes: Lanes,
        out: &mut Vec<u8>,
    ) -> Result<(), NotFinite> {
        let Format { bucket, levels, shift, dice, .. } = self.format;
        self.all.clear();
        for v in v.chunks(bucket) {
            let scale = norm(v)?;
            let symbols = &mut self.symbols[..symbols_len(v.len())];
            quantise(v, Grid::new(scale, levels), shift, dice, &mut lanes, symbols);
            out.extend_from_slice(bytemuck::bytes_of(&scale));
            let folded = symbols[..v.len()].iter().map(|&symbol| {
                let level = quantise::signed(symbol, shift);
                (2 * level.abs() - i32::from(level > 0)) as u8
            });
            self.all.extend(folded);
        }
        Ok(())
    }

    #[inline(always)]
    fn add_buckets<F: Scalar>(&mut self, scales: &[u8], by: F, out: &mut [F]) {
        let c = per_scale::<F>(self.format.levels);
        let buckets = out.chunks_mut(self.format.bucket).zip(scales.chunks_exact(F::BYTES));
        for ((out, scale), symbols) in buckets.zip(self.all.chunks(self.format.bucket)) {
            let scale = bytemuck::pod_read_unaligned::<F>(scale) * by;
            for (out, &symbol) in out.iter_mut().zip(symbols) {
                let level = (i32::from(symbol) + 1) / 2;
                *out += F::of_int(if symbol % 2 == 1 { level } else { -level }) * c * scale;
            }
        }
    }
}

impl<F: Scalar> Compressor<F> for ByNorm {
    fn bound(&self) -> Bound {
        let (n, s) = (self.format.held() as f64, self.format.levels as f64);
        Bound::Unbiased { omega: (n / (s * s)).min(n.sqrt() / s) }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let mut result = Ok(());
        packet::write(out, self.format.header::<F>(Norm::L2), |out| {
            self.format.write_prelude(out);
            result = vectorized(
                #[inline(always)]
                || self.encode_buckets(v, key.lanes(), out),
            );
            self.coder.encode(&self.all, out);
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
        let buckets = self.format.open(packet, Norm::L2, out)?;
        let need = self.format.scales_len::<F>();
        let Some((scales, code)) = buckets.split_at_checked(need) else {
            return Err(DecodeError::Truncated { need, have: buckets.len() });
        };
        for scale in scales.chunks_exact(F::BYTES) {
            read_scale::<F>(scale)?;
        }
        self.all.resize(self.format.dim, 0);
        self.coder.decode(code, 2 * self.format.levels + 1, &mut self.all)?;
        vectorized(
            #[inline(always)]
            || self.add_buckets(scales, scale, out),
        );
        Ok(())
    }

    fn max_packet(&self) -> usize {
        let code = entropy::max_len(self.format.dim, self.format.width());
        HEADER + PRELUDE + self.format.scales_len::<F>() + code
    }
}
