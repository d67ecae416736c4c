//! No compression: every value as it is. The baseline, and the dense download.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Compressor, CompressorKind};
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;

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
    fn build<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(*self))
    }
}

impl<F: Scalar> Compressor<F> for Identity {
    fn bound(&self, _dim: usize) -> Bound {
        Bound::Unbiased { omega: 0.0 }
    }

    fn encode(&mut self, v: &[F], _key: Key, out: &mut Vec<u8>) {
        let header = Header {
            compressor: WIRE,
            index_code: 0,
            value_code: packet::raw_value_code::<F>(),
            dim: v.len(),
            count: v.len(),
        };
        packet::write(out, header, |out| out.extend_from_slice(bytemuck::cast_slice(v)));
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        _key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload } = packet;
        DecodeError::expect("compressor", header.compressor.into(), WIRE.into())?;
        DecodeError::expect("index code", header.index_code.into(), 0)?;
        DecodeError::expect("value code", header.value_code.into(), F::BYTES)?;
        DecodeError::expect("dim", header.dim, out.len())?;
        DecodeError::expect("count", header.count, out.len())?;
        for (out, v) in out.iter_mut().zip(packet::values::<F>(payload, header.count)?) {
            *out += scale * v;
        }
        Ok(())
    }

    fn max_packet(&self, dim: usize) -> usize {
        HEADER + dim * F::BYTES
    }
}
