//! Multi-step compression: R rounds of an unbiased compressor on what the rounds before left over.
//!
//! ```text
//! v_0 = 0;  c_r = C(v - v_{r-1});  v_r = v_{r-1} + c_r / (1 + omega);   sent: c_1 .. c_R
//! value: v_R / (1 - s^R),  s = omega / (1 + omega):  unbiased with omega_R = s^R / (1 - s^R)
//! ```
//!
//! (He et al., ICML 2024, "MSC"; Huang, Chen, Yin, Yuan 2022.)

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bound, Compressor, CompressorKind, inner_registry};
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;

const WIRE: u8 = 3;
/// The payload is a sequence of packets of the inner compressor, one a round.
const INDEX_PACKETS: u8 = 3;

/// R rounds of an unbiased inner compressor.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiStep {
    /// R, the number of rounds (at most 1000).
    #[schemars(range(max = 1000))]
    rounds: NonZeroU32,
    /// The compressor of a round, an object as under `compressor`; it must be unbiased.
    inner: Value,
}

impl MultiStep {
    fn inner<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError> {
        inner_registry().build(&self.inner, ()).map_err(|e| e.below("inner"))
    }
}

impl Kind for MultiStep {
    const KIND: &'static str = "multi-step";
    const SUMMARY: &'static str =
        "R rounds of an unbiased compressor on the remainder, unbiased with a smaller omega";
    const SOURCE: &'static str = "He et al., ICML 2024; Huang, Chen, Yin, Yuan, NeurIPS 2022";

    fn check(&self) -> Result<(), KeyError> {
        if self.rounds.get() > 1000 {
            return Err(KeyError::value("rounds", "must be at most 1000".into()));
        }
        // The kind of promise does not depend on the length of the vector.
        match self.inner::<f64>()?.bound(1 << 20) {
            Bound::Unbiased { .. } => Ok(()),
            Bound::Contractive { .. } => Err(KeyError::value(
                "inner.kind",
                "a biased compressor cannot be wrapped: the rounds' mean would not be v; \
                 use an unbiased one such as rand-k"
                    .into(),
            )),
        }
    }
}

impl CompressorKind for MultiStep {
    fn build<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError> {
        Ok(Box::new(Encoder {
            rounds: self.rounds.get(),
            inner: self.inner()?,
            remainder: vec![],
            round: vec![],
        }))
    }
}

struct Encoder<F> {
    rounds: u32,
    inner: Box<dyn Compressor<F>>,
    remainder: Vec<F>,
    round: Vec<u8>,
}

impl<F: Scalar> Encoder<F> {
    fn inner_omega(&self, dim: usize) -> f64 {
        match self.inner.bound(dim) {
            Bound::Unbiased { omega } => omega,
            Bound::Contractive { delta } => 1.0 / delta - 1.0,
        }
    }

    /// s^R.
    fn left_over(&self, dim: usize) -> f64 {
        let omega = self.inner_omega(dim);
        (omega / (1.0 + omega)).powi(self.rounds as i32)
    }
}

impl<F: Scalar> Compressor<F> for Encoder<F> {
    fn bound(&self, dim: usize) -> Bound {
        let left = self.left_over(dim);
        Bound::Unbiased { omega: left / (1.0 - left) }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) {
        let header = Header {
            compressor: WIRE,
            index_code: INDEX_PACKETS,
            value_code: 0,
            dim: v.len(),
            count: self.rounds as usize,
        };
        let step = F::lit(-1.0 / (1.0 + self.inner_omega(v.len())));
        self.remainder.clear();
        self.remainder.extend_from_slice(v);
        packet::write(out, header, |out| {
            for round in 0..self.rounds {
                self.round.clear();
                self.inner.encode(&self.remainder, key.numbered(round), &mut self.round);
                let (packet, _) = Packet::split(&self.round).expect("a packet just written");
                (self.inner.decode_add(packet, key.numbered(round), step, &mut self.remainder))
                    .expect("a packet just written");
                out.extend_from_slice(&self.round);
            }
        });
    }

    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError> {
        let Packet { header, payload: mut rest } = packet;
        let dim = out.len();
        DecodeError::expect("compressor", header.compressor.into(), WIRE.into())?;
        DecodeError::expect("index code", header.index_code.into(), INDEX_PACKETS.into())?;
        DecodeError::expect("value code", header.value_code.into(), 0)?;
        DecodeError::expect("dim", header.dim, dim)?;
        DecodeError::expect("count", header.count, self.rounds as usize)?;
        let unbias = 1.0 / ((1.0 + self.inner_omega(dim)) * (1.0 - self.left_over(dim)));
        let scale = scale * F::lit(unbias);
        for round in 0..self.rounds {
            let inner;
            (inner, rest) = Packet::split(rest)?;
            self.inner.decode_add(inner, key.numbered(round), scale, out)?;
        }
        DecodeError::expect("bytes after the last round", rest.len(), 0)
    }

    fn max_packet(&self, dim: usize) -> usize {
        HEADER + self.rounds as usize * self.inner.max_packet(dim)
    }
}
