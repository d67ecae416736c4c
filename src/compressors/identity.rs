//! No compression: every value as it is. The baseline, and the dense download.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compressor, CompressorKind, NotFinite, Site};
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::all_finite;

const WIRE: u8 = 0;

/// C(v) = v.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {}

impl Kind for Identity {
    const KIND: &'static str = "identity";
    const SUMMARY: &'static str = "every value, uncompressed";
    const SOURCE: &'static str = "-";
}

impl CompressorKind for Identity {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(Dense { dim: site.dim() }))
    }
}

/// Every value of vectors of length `dim`, as it is.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Dense {
    pub dim: usize,
}

impl Dense {
    fn header<F: Scalar>(dim: usize) -> Header {
        Header {
            compressor: WIRE,
            index_code: 0,
            value_code: packet::raw_value_code::<F>(),
            dim,
            count: dim,
        }
    }

    /// Appends the packet of any vector, finite or not.
    pub fn write<F: Scalar>(v: &[F], out: &mut Vec<u8>) {
        packet::write(out, Self::header::<F>(v.len()), |out| {
            out.extend_from_slice(bytemuck::cast_slice(v))
        });
    }
}

impl<F: Scalar> Compressor<F> for Dense {
    fn bound(&self) -> Bound {
        Bound::Unbiased { omega: 0.0 }
    }

    fn encode(&mut self, v: &[F], _key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        if !all_finite(v) {
            return Err(NotFinite);
        }
        Self::write(v, out);
        Ok(())
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        _key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        header.expect(Self::header::<F>(out.len()))?;
        for (out, v) in out.iter_mut().zip(packet::values::<F>(payload, header.count)?) {
            *out += scale * v;
        }
        Ok(())
    }

    fn max_packet(&self) -> usize {
        HEADER + self.dim * F::BYTES
    }

    fn summable(&self) -> Option<usize> {
        Some(self.dim)
    }
}
