//! Ternary compression (TernGrad): each entry becomes 0 or plus or minus its bucket's maximum.
//!
//! Payload, per bucket: its maximum in the run's precision, and five entries a byte.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::pack::{add_trits, check_trits, pack_trits, trits_len};
use super::codec::quantise::{Dice, Grid, quantise, symbols_len};
use super::codec::scale::{largest, read_scale};
use super::dithering::default_bucket;
use super::{Bound, Compressor, CompressorKind, NotFinite, Site};
use crate::config::{Count, KeyError};
use crate::key::{Key, Lanes};
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 8;
/// No entry is left out.
const INDEX_NONE: u8 = 0;
/// Bytes of the bucket's length.
const PRELUDE: usize = 4;

/// C(v)_j = m sign(v_j) with probability |v_j|/m, else 0; m is the largest magnitude of the bucket.
///
/// It is dithering with one level: unbiased with omega = (sqrt(n) - 1)/2 in the worst case, that of
/// one entry m and n - 1 entries m / (1 + sqrt(n)).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ternary {
    /// n, the number of entries that share a maximum.
    #[serde(default = "default_bucket")]
    bucket: Count,
}

impl Kind for Ternary {
    const KIND: &'static str = "ternary";
    const SUMMARY: &'static str = "0 or plus or minus each bucket's maximum, 1.6 bits an entry, \
                                   unbiased with omega = (sqrt(n) - 1)/2";
    const SOURCE: &'static str = "Wen, Xu, Yan, Wu, Wang, Chen, Li, NeurIPS 2017";
}

impl CompressorKind for Ternary {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let (dim, bucket) = (site.dim(), self.bucket.get());
        let held = bucket.min(dim).max(1);
        let dice = Dice::stochastic(1, held);
        Ok(Box::new(Encoder { dim, bucket, dice, symbols: vec![0; symbols_len(held)] }))
    }
}

struct Encoder {
    dim: usize,
    bucket: usize,
    dice: Dice,
    /// Symbols of a bucket.
    symbols: Vec<u16>,
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

    fn payload<F: Scalar>(&self) -> usize {
        let scales = self.dim.div_ceil(self.bucket) * F::BYTES;
        let full = self.dim / self.bucket * trits_len(self.bucket);
        PRELUDE + scales + full + trits_len(self.dim % self.bucket)
    }

    #[inline(always)]
    fn encode_buckets<F: Scalar>(
        &mut self,
        v: &[F],
        mut lanes: Lanes,
        out: &mut Vec<u8>,
    ) -> Result<(), NotFinite> {
        for v in v.chunks(self.bucket) {
            let scale = largest(v)?;
            let symbols = &mut self.symbols[..symbols_len(v.len())];
            quantise(v, Grid::new(scale, 1), 1, self.dice, &mut lanes, symbols);
            // Level and sign bit: -0 is 0, -1 is 2.
            for symbol in &mut *symbols {
                *symbol = (*symbol & 1) << (*symbol >> 1);
            }
            out.extend_from_slice(bytemuck::bytes_of(&scale));
            let start = out.len();
            out.resize(start + trits_len(v.len()), 0);
            pack_trits(symbols, &mut out[start..]);
        }
        Ok(())
    }

    #[inline(always)]
    fn add_buckets<F: Scalar>(
        &self,
        mut rest: &[u8],
        by: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        for out in out.chunks_mut(self.bucket) {
            let (scale, trits) = rest.split_at(F::BYTES);
            let (trits, behind) = trits.split_at(trits_len(out.len()));
            rest = behind;
            let scale = read_scale::<F>(scale)?;
            check_trits(trits, out.len())?;
            add_trits(trits, scale * by, out);
        }
        Ok(())
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self) -> Bound {
        let held = self.bucket.min(self.dim) as f64;
        Bound::Unbiased { omega: (held.sqrt() - 1.0) / 2.0 }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        out.reserve(Compressor::<F>::max_packet(self));
        let mut result = Ok(());
        packet::write(out, self.header::<F>(), |out| {
            out.extend_from_slice(&(self.bucket as u32).to_le_bytes());
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
        let Packet { header, payload } = packet;
        header.expect(self.header::<F>())?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        DecodeError::expect("payload bytes", payload.len(), self.payload::<F>())?;
        let (bucket, buckets) = payload.split_at(PRELUDE);
        let bucket: u32 = bytemuck::pod_read_unaligned(bucket);
        DecodeError::expect("bucket", bucket as usize, self.bucket)?;
        vectorized(
            #[inline(always)]
            || self.add_buckets(buckets, scale, out),
        )
    }

    fn max_packet(&self) -> usize {
        HEADER + self.payload::<F>()
    }
}
