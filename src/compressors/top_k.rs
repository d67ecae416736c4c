//! Top-k: the K entries of largest magnitude, exactly; ties go to the lowest index.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compressor, CompressorKind, kept};
use crate::config::{KeyError, Ratio};
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;

const WIRE: u8 = 2;
/// Ascending u32 positions.
const INDEX_RAW: u8 = 2;

/// C(v)_j = v_j for the K largest |v_j|, else 0; K = max(1, round(ratio d)).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// Share of the coordinates that is sent.
    ratio: Ratio,
}

impl Kind for TopK {
    const KIND: &'static str = "top-k";
    const SUMMARY: &'static str =
        "the K largest magnitudes (ties to the lowest index), contractive with delta = K/d";
    const SOURCE: &'static str = "Stich, Cordonnier, Jaggi, NeurIPS 2018";
}

impl CompressorKind for TopK {
    fn build<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(Encoder { ratio: self.ratio.get(), magnitudes: vec![], chosen: vec![] }))
    }
}

struct Encoder {
    ratio: f64,
    magnitudes: Vec<u64>,
    chosen: Vec<u32>,
}

impl Encoder {
    /// The indices of the K largest, ascending.
    ///
    /// One selection finds the K-th largest magnitude; one pass in index order then takes what is
    /// above it, and of those equal to it the first ones.
    fn choose<F: Scalar>(&mut self, v: &[F], count: usize) {
        self.chosen.clear();
        if count == v.len() {
            self.chosen.extend(0..count as u32);
            return;
        }
        self.magnitudes.clear();
        self.magnitudes.extend(v.iter().map(|v| v.magnitude()));
        let cut = v.len() - count;
        let (_, &mut threshold, above) = self.magnitudes.select_nth_unstable(cut);
        let mut ties = count - above.iter().filter(|&&m| m > threshold).count();
        for (j, v) in v.iter().enumerate() {
            let magnitude = v.magnitude();
            if magnitude > threshold {
                self.chosen.push(j as u32);
            } else if magnitude == threshold && ties > 0 {
                self.chosen.push(j as u32);
                ties -= 1;
            }
        }
    }
}

impl<F: Scalar> Compressor<F> for Encoder {
    fn bound(&self, dim: usize) -> Bound {
        Bound::Contractive { delta: kept(self.ratio, dim) as f64 / dim as f64 }
    }

    fn encode(&mut self, v: &[F], _key: Key, out: &mut Vec<u8>) {
        let header = Header {
            compressor: WIRE,
            index_code: INDEX_RAW,
            value_code: packet::raw_value_code::<F>(),
            dim: v.len(),
            count: kept(self.ratio, v.len()),
        };
        self.choose(v, header.count);
        packet::write(out, header, |out| {
            out.extend_from_slice(bytemuck::cast_slice(&self.chosen));
            for &j in &self.chosen {
                out.extend_from_slice(bytemuck::bytes_of(&v[j as usize]));
            }
        });
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        _key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        let dim = out.len();
        DecodeError::expect("compressor", header.compressor.into(), WIRE.into())?;
        DecodeError::expect("index code", header.index_code.into(), INDEX_RAW.into())?;
        DecodeError::expect("value code", header.value_code.into(), F::BYTES)?;
        DecodeError::expect("dim", header.dim, dim)?;
        DecodeError::expect("count", header.count, kept(self.ratio, dim))?;
        let Some((indices, payload)) = payload.split_at_checked(4 * header.count) else {
            let need = (4 + F::BYTES) * header.count;
            return Err(DecodeError::Truncated { need, have: payload.len() });
        };
        let mut lowest = 0;
        for (index, v) in indices.chunks_exact(4).zip(packet::values::<F>(payload, header.count)?) {
            let index: u32 = bytemuck::pod_read_unaligned(index);
            if u64::from(index) < lowest || index as usize >= dim {
                return Err(DecodeError::Index { index: index.into(), dim });
            }
            lowest = u64::from(index) + 1;
            out[index as usize] += scale * v;
        }
        Ok(())
    }

    fn max_packet(&self, dim: usize) -> usize {
        HEADER + kept(self.ratio, dim) * (4 + F::BYTES)
    }
}
