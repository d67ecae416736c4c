//! Top-k: the K entries of largest magnitude, exactly; ties go to the lowest index.
//!
//! Values travel as they are or in 32, 16, 8, 4 bits or 1 bit, indices as Golomb-Rice codes of their
//! gaps or as positions of 16 or 32 bits. A packet's payload is the code of the values, then that of the
//! indices, in ascending order of the indices.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::codec::select::{Guess, Selection};
use super::codec::values::ValueCode;
use super::codec::{CODE_BLOCK, chunks, rice, values, words};
use super::{Bound, Compressor, CompressorKind, NotFinite, Site, kept};
use crate::config::{KeyError, Ratio};
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::simd::vectorized;

const WIRE: u8 = 2;

/// Gbit/s from which Rice codes take longer than the bytes that they save.
const FAST_LINK: f64 = 5.0;

/// C(v)_j = Q(v_j) for the K largest |v_j|, else 0; K = max(1, round(ratio d)); Q rounds to the code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// Share of the coordinates that is sent.
    ratio: Ratio,
    /// Bits of a value: 64 (runs in double precision only), 32, 16 (half precision of v/scale), 8 or
    /// 4 (sign and magnitude level), 1 (sign; one magnitude for all). Left out: the run's precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits: Option<Bits>,
    /// How positions travel: "rice" takes few bytes, "raw" little time (16 bits each and 32 for every
    /// 65,536 entries, or 32 bits each where that is less); "auto" chooses rice on links below 5 Gbit/s.
    #[serde(default)]
    index: Index,
    /// Whether the K largest are those of the whole variable or, with K for each, of each matrix.
    #[serde(default)]
    scope: Scope,
}

/// Bits of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "u8")]
struct Bits(u8);

impl Bits {
    const ALL: [u8; 6] = [64, 32, 16, 8, 4, 1];
}

impl TryFrom<f64> for Bits {
    type Error = String;
    fn try_from(bits: f64) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|&known| f64::from(known) == bits);
        known.map(Self).ok_or_else(|| format!("must be 64, 32, 16, 8, 4 or 1, found {bits}"))
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl JsonSchema for Bits {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bits".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Self::ALL })
    }
}

/// How positions travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Index {
    #[default]
    Auto,
    Rice,
    Raw,
}

/// Of what the largest are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    #[default]
    Global,
    Layer,
}

impl Kind for TopK {
    const KIND: &'static str = "top-k";
    const SUMMARY: &'static str =
        "the K largest magnitudes in 64 bits to 1 bit each, contractive with delta = K/d or less";
    const SOURCE: &'static str = "Stich, Cordonnier, Jaggi, NeurIPS 2018";
}

impl TopK {
    fn value_code<F: Scalar>(&self) -> Result<ValueCode, KeyError> {
        Ok(match self.bits {
            None => ValueCode::Raw,
            Some(Bits(bits)) if usize::from(bits) == 8 * F::BYTES => ValueCode::Raw,
            Some(Bits(64)) => {
                let problem = "64 needs a run in double precision".into();
                return Err(KeyError::value("bits", problem));
            }
            Some(Bits(32)) => ValueCode::Single,
            Some(Bits(16)) => ValueCode::Half,
            Some(Bits(8)) => ValueCode::Bytes,
            Some(Bits(4)) => ValueCode::Nibbles,
            Some(Bits(_)) => ValueCode::Signs,
        })
    }

    fn index_code(&self, link_gbit: f64, dim: usize, count: usize) -> IndexCode {
        match self.index {
            _ if count == dim => IndexCode::Every,
            Index::Rice => IndexCode::Rice,
            Index::Auto if link_gbit < FAST_LINK => IndexCode::Rice,
            Index::Raw | Index::Auto if words::len(count) < chunks::len(dim, count) => {
                IndexCode::Words
            }
            Index::Raw | Index::Auto => IndexCode::Chunks,
        }
    }

    /// Where the largest are looked for.
    fn spans(&self, site: Site<'_>) -> Vec<Span> {
        let lengths: Vec<usize> = match self.scope {
            Scope::Global => vec![site.dim()],
            Scope::Layer => site.layout.matrices().iter().map(|[rows, cols]| rows * cols).collect(),
        };
        let mut start = 0;
        let spans = lengths.into_iter().filter(|&len| len > 0).map(|len| {
            start += len;
            Span { start: start - len, len, count: kept(self.ratio.get(), len), guess: None }
        });
        spans.collect()
    }
}

impl CompressorKind for TopK {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        let spans = self.spans(site);
        let count = spans.iter().map(|span| span.count).sum();
        Ok(Box::new(Encoder::<F> {
            dim: site.dim(),
            count,
            value_code: self.value_code::<F>()?,
            index_code: self.index_code(site.link_gbit, site.dim(), count),
            spans,
            selection: Selection::default(),
            rice: rice::Encoder::default(),
        }))
    }
}

/// A part of the vector whose largest entries are sent.
struct Span {
    start: usize,
    len: usize,
    count: usize,
    guess: Guess,
}

/// How positions are coded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexCode {
    /// Not at all: every entry is sent.
    Every = 0,
    /// See [`words`].
    Words = 1,
    /// See [`chunks`].
    Chunks = 2,
    /// See [`rice`].
    Rice = 4,
}

struct Encoder<F> {
    dim: usize,
    count: usize,
    value_code: ValueCode,
    index_code: IndexCode,
    spans: Vec<Span>,
    selection: Selection<F>,
    rice: rice::Encoder,
}

impl<F: Scalar> Encoder<F> {
    fn header(&self) -> Header {
        Header {
            compressor: WIRE,
            index_code: self.index_code as u8,
            value_code: self.value_code.number::<F>(),
            dim: self.dim,
            count: self.count,
        }
    }
}

impl<F: Scalar> Compressor<F> for Encoder<F> {
    /// What a span keeps is at least K_l/d_l of its squares, what all keep at least the smallest
    /// such share of |v|^2; the code of the values makes delta smaller ([`ValueCode::delta`]).
    fn bound(&self) -> Bound {
        let kept = self.spans.iter().map(|span| span.count as f64 / span.len as f64);
        let delta = self.value_code.delta(kept.fold(1.0, f64::min), self.count);
        Bound::Contractive { delta }
    }

    fn encode(&mut self, v: &[F], _key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let mut result = Ok(());
        packet::write(out, self.header(), |out| {
            if self.index_code == IndexCode::Every {
                result = self.value_code.write(v, out);
                return;
            }
            self.selection.clear();
            for Span { start, len, count, guess } in &mut self.spans {
                self.selection.add(&v[*start..*start + *len], *start as u32, *count, guess);
            }
            // NaN and infinity are larger than every number: they are among the selected.
            result = self.value_code.write(self.selection.values(), out);
            match self.index_code {
                IndexCode::Rice => self.rice.write(self.selection.indices(), out),
                IndexCode::Words => words::write(self.selection.indices(), out),
                _ => chunks::write(self.selection.indices(), v.len(), out),
            }
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
        header.expect(self.header())?;
        DecodeError::expect("length of the sum", out.len(), self.dim)?;
        let values = self.value_code.len::<F>(self.count);
        let Some((values, indices)) = payload.split_at_checked(values) else {
            return Err(DecodeError::Truncated { need: values, have: payload.len() });
        };
        let values = self.value_code.decoder::<F>(values, self.count)?;
        let count = self.count;
        match self.index_code {
            IndexCode::Every => {
                DecodeError::expect("bytes of indices", indices.len(), 0)?;
                add_every(values, scale, out)
            }
            IndexCode::Words => {
                let mut indices = words::Decoder::new(indices, self.dim, count)?;
                scatter(
                    values,
                    count,
                    scale,
                    out,
                    #[inline(always)]
                    |block| indices.next(block),
                )
            }
            IndexCode::Chunks => {
                let mut indices = chunks::Decoder::new(indices, self.dim, count)?;
                scatter(
                    values,
                    count,
                    scale,
                    out,
                    #[inline(always)]
                    |block| indices.next(block),
                )
            }
            IndexCode::Rice => {
                let mut indices = rice::Decoder::new(indices, self.dim, count)?;
                scatter(
                    values,
                    count,
                    scale,
                    out,
                    #[inline(always)]
                    |block| indices.next(block),
                )?;
                indices.finish()
            }
        }
    }

    fn max_packet(&self) -> usize {
        let indices = match self.index_code {
            IndexCode::Every => 0,
            IndexCode::Words => words::len(self.count),
            IndexCode::Chunks => chunks::len(self.dim, self.count),
            IndexCode::Rice => rice::max_len(self.dim, self.count),
        };
        HEADER + self.value_code.len::<F>(self.count) + indices
    }
}

/// out += scale C(v), every entry being sent.
fn add_every<F: Scalar>(
    mut values: values::Decoder<'_, F>,
    scale: F,
    out: &mut [F],
) -> Result<(), DecodeError> {
    vectorized(
        #[inline(always)]
        || {
            let mut block = [F::zero(); CODE_BLOCK];
            for out in out.chunks_mut(CODE_BLOCK) {
                let block = &mut block[..out.len()];
                values.next(block)?;
                out.iter_mut().zip(&*block).for_each(|(out, &v)| *out += scale * v);
            }
            Ok(())
        },
    )
}

/// out += scale C(v), the indices of each block of values given by `next`.
#[inline(always)]
fn scatter<F: Scalar>(
    mut values: values::Decoder<'_, F>,
    count: usize,
    scale: F,
    out: &mut [F],
    mut next: impl FnMut(&mut [u32]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    vectorized(
        #[inline(always)]
        || {
            let (mut indices, mut block) = ([0; CODE_BLOCK], [F::zero(); CODE_BLOCK]);
            for first in (0..count).step_by(CODE_BLOCK) {
                let count = CODE_BLOCK.min(count - first);
                let (indices, block) = (&mut indices[..count], &mut block[..count]);
                next(indices)?;
                values.next(block)?;
                for (&index, &v) in indices.iter().zip(&*block) {
                    out[index as usize] += scale * v;
                }
            }
            Ok(())
        },
    )
}
