//! Dithering: each bucket of entries is rounded to s levels of its own scale (QSGD).
//!
//! Payload: `u32 bucket | u32 levels`, and then
//!
//! - norm max: per bucket its scale in the run's precision and its symbols, level and sign in
//!   ceil(log2(2s + 1)) bits each;
//! - norm l2: the scales of all buckets, and the symbols entropy-coded: most are 0.

mod by_max;
mod by_norm;

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::by_max::ByMax;
use self::by_norm::ByNorm;
use super::codec::bits::packed_len;
use super::codec::quantise::{Dice, symbols_len};
use super::{Compressor, CompressorKind, Site};
use crate::config::{Count, KeyError};
use crate::packet::{self, DecodeError, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;

const WIRE: u8 = 7;
/// No entry is left out.
const INDEX_NONE: u8 = 0;
/// Bucket and levels.
const PRELUDE: usize = 8;
const MAX_LEVELS: u16 = 32767;
/// Symbols that are entropy-coded are bytes.
const MAX_LEVELS_L2: u16 = 127;

/// C(v)_j = m sign(v_j) l_j / s per bucket, m its scale, l_j = s |v_j| / m rounded to an integer.
///
/// Stochastic rounding (up with the probability of the distance from the level below) is unbiased.
/// With u = s |v_j| / m in [0, 1] an entry adds (u - u^2) (m/s)^2 to the error and u^2 (m/s)^2 to
/// |v|^2; u above 1 adds less error per |v|^2.
///
/// - Norm max: one entry is m itself, without error; the worst of the N = n - 1 others are alike:
///   omega = max_u N (u - u^2) / (s^2 + N u^2), at u = s / (s + sqrt(s^2 + N)), which is
///   omega = (sqrt(1 + N/s^2) - 1) / 2.
/// - Norm l2: omega = min(n/s^2, sqrt(n)/s) (Alistarh et al., lemma 3.1).
///
/// Rounding to the nearest level (norm max) is off by at most min(u, 1 - u) of a level; the worst is
/// u = 1/2 for all N others, an error of N/4 of s^2 + N/4: delta = s^2 / (s^2 + N/4). For norm l2 it
/// promises nothing: all entries are lost if each is below half a level.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dithering {
    /// s, the number of levels above 0 (at most 32767; with norm l2 127).
    #[serde(default = "default_levels")]
    #[schemars(range(max = 32767))]
    levels: NonZeroU16,
    /// n, the number of entries that share a scale.
    #[serde(default = "default_bucket")]
    bucket: Count,
    /// The scale of a bucket.
    #[serde(default)]
    norm: Norm,
    /// What happens between two levels.
    #[serde(default)]
    rounding: Rounding,
}

fn default_levels() -> NonZeroU16 {
    const { NonZeroU16::new(7).expect("above 0") }
}

pub(super) fn default_bucket() -> Count {
    Count::constant(512.0)
}

/// The scale of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Norm {
    /// The largest magnitude: fewer zeros, symbols of a fixed width.
    #[default]
    Max,
    /// The Euclidean norm: most entries become 0, symbols are entropy-coded.
    L2,
}

/// What happens between two levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Rounding {
    /// Up with the probability of the distance from the level below: unbiased.
    #[default]
    Stochastic,
    /// To the nearest level: contractive, deterministic.
    Nearest,
}

impl Kind for Dithering {
    const KIND: &'static str = "dithering";
    const SUMMARY: &'static str = "s levels of each bucket's maximum (or norm) with random rounding, \
                                   unbiased with omega = (sqrt(1 + (n-1)/s^2) - 1)/2";
    const SOURCE: &'static str = "Alistarh, Grubic, Li, Tomioka, Vojnovic, NeurIPS 2017";

    fn check(&self) -> Result<(), KeyError> {
        let levels = self.levels.get();
        if self.norm == Norm::L2 && self.rounding == Rounding::Nearest {
            let problem = "rounding to the nearest level of the l2 norm may lose every entry, \
                           which no memory corrects; use \"stochastic\", or norm \"max\"";
            return Err(KeyError::value("rounding", problem.into()));
        }
        if self.norm == Norm::L2 && levels > MAX_LEVELS_L2 {
            let problem =
                format!("must be at most {MAX_LEVELS_L2} with norm \"l2\", found {levels}");
            return Err(KeyError::value("levels", problem));
        }
        if levels > MAX_LEVELS {
            let problem = format!("must be at most {MAX_LEVELS}, found {levels}");
            return Err(KeyError::value("levels", problem));
        }
        Ok(())
    }
}

impl CompressorKind for Dithering {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let (dim, levels) = (site.dim(), usize::from(self.levels.get()));
        let bucket = self.bucket.get();
        let held = bucket.min(dim).max(1);
        let dice = match self.rounding {
            Rounding::Stochastic => Dice::stochastic(levels, held),
            Rounding::Nearest => Dice::None,
        };
        let format = Format { dim, bucket, levels, shift: levels.ilog2() + 1, dice };
        let symbols = vec![0; symbols_len(held)];
        Ok(match self.norm {
            Norm::Max => Box::new(ByMax::new(format, symbols)),
            Norm::L2 => Box::new(ByNorm::new(format, symbols)),
        })
    }
}

/// What both norms share.
#[derive(Clone, Copy)]
struct Format {
    dim: usize,
    bucket: usize,
    levels: usize,
    /// Bits of a level, place of the sign.
    shift: u32,
    dice: Dice,
}

impl Format {
    /// Entries of the longest bucket.
    fn held(&self) -> usize {
        self.bucket.min(self.dim)
    }

    fn width(&self) -> u32 {
        self.shift + 1
    }

    fn header<F: Scalar>(&self, norm: Norm) -> Header {
        // Bytes of a number (4 or 8), and in the low bits norm and rounding.
        let nearest = u8::from(self.dice == Dice::None);
        let code = packet::raw_value_code::<F>() | nearest << 1 | u8::from(norm == Norm::L2);
        let (dim, index_code) = (self.dim, INDEX_NONE);
        Header { compressor: WIRE, index_code, value_code: code, dim, count: dim }
    }

    fn write_prelude(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.bucket as u32).to_le_bytes());
        out.extend_from_slice(&(self.levels as u32).to_le_bytes());
    }

    /// Checks all but the buckets, which it returns.
    fn open<'a, F: Scalar>(
        &self,
        packet: Packet<'a>,
        norm: Norm,
        out: &[F],
    ) -> Result<&'a [u8], DecodeError> {
        packet.header.expect(self.header::<F>(norm))?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        let Some((&[a, b, c, d, e, f, g, h], rest)) = packet.payload.split_first_chunk() else {
            return Err(DecodeError::Truncated { need: PRELUDE, have: packet.payload.len() });
        };
        DecodeError::expect("bucket", u32::from_le_bytes([a, b, c, d]) as usize, self.bucket)?;
        DecodeError::expect("levels", u32::from_le_bytes([e, f, g, h]) as usize, self.levels)?;
        Ok(rest)
    }

    /// Bytes of all scales.
    fn scales_len<F: Scalar>(&self) -> usize {
        self.dim.div_ceil(self.bucket) * F::BYTES
    }

    /// Bytes of the packed symbols of all buckets.
    fn symbols_len(&self) -> usize {
        self.dim / self.bucket * packed_len(self.bucket, self.width())
            + packed_len(self.dim % self.bucket, self.width())
    }
}
