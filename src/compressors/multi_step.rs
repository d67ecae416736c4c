//! Multi-step compression: R rounds of an unbiased compressor on what the rounds before left over.
//!
//! ```text
//! v_0 = 0;  c_r = C(v - v_{r-1});  v_r = v_{r-1} + c_r / (1 + omega);   sent: c_1 .. c_R
//! value: v_R / (1 - s^R),  s = omega / (1 + omega):  unbiased with omega_R = s^R / (1 - s^R)
//! ```
//!
//! (He et al., ICML 2024, "MSC"; Huang, Chen, Yin, Yuan 2022.)
//!
//! Rounds of rand-k meet the same coordinates again. With `"supports": "disjoint"` they do not: R
//! disjoint K-subsets are one subset of RK coordinates, each round's remainder is v itself there,
//! and the unbiased total is (d/(RK)) v on their union, omega = d/(RK) - 1. That is below
//! s^R / (1 - s^R) at the same length. One draw of RK coordinates gives the union, and what travels
//! is its RK values; RK above d is taken for d.

use std::num::NonZeroU32;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rand_k::RandK;
use super::{
    Bound, Compressor, CompressorKind, NotFinite, Site, inner_registry, kept, refuse_shared,
};
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{self, DecodeError, HEADER, Header, Packet};
use crate::registry::{Kind, parameters};
use crate::scalar::Scalar;
use crate::vars::Layout;

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
    #[schemars(schema_with = "inner_schema")]
    inner: Value,
    /// Whether the supports of the rounds may overlap.
    #[serde(default)]
    supports: Supports,
}

/// How the supports of the rounds lie to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Supports {
    /// Independent.
    #[default]
    Overlapping,
    /// No coordinate in two rounds; the inner compressor must be rand-k.
    Disjoint,
}

fn inner_schema(generator: &mut SchemaGenerator) -> Schema {
    inner_registry().schema(generator)
}

impl MultiStep {
    /// Parameters of the rand-k whose supports are made disjoint.
    fn inner_rand_k(&self) -> Result<RandK, KeyError> {
        let mut inner = self.inner.clone();
        match inner.as_object_mut().and_then(|object| object.remove("kind")) {
            Some(Value::String(kind)) if kind == RandK::KIND => {
                parameters(inner).map_err(|e| e.below("inner"))
            }
            _ => Err(KeyError::value(
                "inner.kind",
                "disjoint supports are those of rand-k; use it or \"supports\": \"overlapping\""
                    .into(),
            )),
        }
    }

    fn inner<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        inner_registry().build(&self.inner, site).map_err(|e| e.below("inner"))
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
        match self.inner::<f64>(Site::new(&Layout::flat(1 << 20)))?.bound() {
            Bound::Unbiased { .. } if self.supports == Supports::Disjoint => {
                self.inner_rand_k().map(drop)
            }
            Bound::Unbiased { .. } => refuse_shared(&self.inner).map_err(|e| e.below("inner")),
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
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError> {
        if self.supports == Supports::Disjoint {
            let rand_k = self.inner_rand_k()?;
            let (dim, rounds) = (site.dim(), self.rounds.get() as usize);
            let union = kept(rand_k.ratio.get(), dim).saturating_mul(rounds).min(dim);
            return Ok(Box::new(rand_k.encoder(WIRE, dim, union)));
        }
        Ok(Box::new(Encoder {
            rounds: self.rounds.get(),
            inner: self.inner(site)?,
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
    fn inner_omega(&self) -> f64 {
        1.0 / self.inner.bound().contraction() - 1.0
    }

    /// Key of one of the inner compressor's draws.
    fn key(&self, key: Key, round: u32) -> Key {
        key.numbered(key.sub.wrapping_mul(self.rounds).wrapping_add(round))
    }

    /// s^R.
    fn left_over(&self) -> f64 {
        let omega = self.inner_omega();
        (omega / (1.0 + omega)).powi(self.rounds as i32)
    }
}

impl<F: Scalar> Compressor<F> for Encoder<F> {
    fn bound(&self) -> Bound {
        let left = self.left_over();
        Bound::Unbiased { omega: left / (1.0 - left) }
    }

    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        let header = Header {
            compressor: WIRE,
            index_code: INDEX_PACKETS,
            value_code: 0,
            dim: v.len(),
            count: self.rounds as usize,
        };
        let step = F::lit(-1.0 / (1.0 + self.inner_omega()));
        self.remainder.clear();
        self.remainder.extend_from_slice(v);
        let mut result = Ok(());
        packet::write(out, header, |out| {
            for round in 0..self.rounds {
                self.round.clear();
                result = self.inner.encode(&self.remainder, self.key(key, round), &mut self.round);
                if result.is_err() {
                    return;
                }
                let (packet, _) = Packet::split(&self.round).expect("a packet just written");
                (self.inner.decode_add(packet, self.key(key, round), step, &mut self.remainder))
                    .expect("a packet just written");
                out.extend_from_slice(&self.round);
            }
        });
        result
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
        let unbias = 1.0 / ((1.0 + self.inner_omega()) * (1.0 - self.left_over()));
        let scale = scale * F::lit(unbias);
        for round in 0..self.rounds {
            let inner;
            (inner, rest) = Packet::split(rest)?;
            self.inner.decode_add(inner, self.key(key, round), scale, out)?;
        }
        DecodeError::expect("bytes after the last round", rest.len(), 0)
    }

    fn max_packet(&self) -> usize {
        HEADER + self.rounds as usize * self.inner.max_packet()
    }
}
