//! Compressors: one file each, wire format private to its file.
//!
//! To add one: write its file, add it to [`registry`]. The contract tests (`tests/compressors.rs`)
//! then ask for an example and hold it to the [`Bound`] that it declares.

mod identity;
mod multi_step;
mod rand_k;
mod top_k;

use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{DecodeError, Packet};
use crate::registry::{Entry, Family, Kind, Registry, parameters};
use crate::scalar::Scalar;

pub use identity::Identity;

/// What a compressor C: R^d -> R^d promises for every v (algorithms.md section 2 of the design;
/// Beznosikov, Horvath, Richtarik, Safaryan, JMLR 2023).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// E C(v) = v and E|C(v) - v|^2 <= omega |v|^2.
    Unbiased {
        /// Relative variance, >= 0.
        omega: f64,
    },
    /// E|C(v) - v|^2 <= (1 - delta) |v|^2.
    Contractive {
        /// In (0, 1].
        delta: f64,
    },
}

impl Bound {
    /// The rate delta at which an error-feedback memory follows: m += delta C(D - m).
    /// For an unbiased C, C/(1 + omega) is contractive with delta = 1/(1 + omega); a contractive C
    /// is applied in full (EF21: Richtarik, Sokolov, Fatkhullin, NeurIPS 2021).
    pub fn memory_rate(self) -> f64 {
        match self {
            Self::Unbiased { omega } => 1.0 / (1.0 + omega),
            Self::Contractive { .. } => 1.0,
        }
    }
}

/// A randomised map R^d -> R^d with a packed form. Pure in (v, key): a compressor may keep buffers
/// but no state.
pub trait Compressor<F: Scalar>: Send {
    /// The promise for vectors of length `dim`.
    fn bound(&self, dim: usize) -> Bound;

    /// Appends the packet of C(v) to `out`. v [d] must be finite and not empty.
    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>);

    /// out += scale C(v), in O(entries sent). `key` is the sender's. On an error `out` may hold a
    /// part of the sum.
    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError>;

    /// The most bytes that a packet of a vector of length `dim` may have, header included.
    fn max_packet(&self, dim: usize) -> usize;
}

/// The family of compressors.
pub struct Compressors;

impl Family for Compressors {
    type Of<F: Scalar> = dyn Compressor<F>;
    type Context<'a, F: Scalar> = ();
    type Error = KeyError;
    type Facts = ();
    const WORD: &'static str = "compressor";
}

/// A kind of compressor: its parameters and how to build it.
pub trait CompressorKind: Kind {
    /// Builds it.
    fn build<F: Scalar>(&self) -> Result<Box<dyn Compressor<F>>, KeyError>;
}

fn entry<K: CompressorKind>() -> Entry<Compressors> {
    Entry::new::<K>(
        (),
        |value, ()| parameters::<K>(value)?.build(),
        |value, ()| parameters::<K>(value)?.build(),
    )
}

/// Every compressor.
pub fn registry() -> Registry<Compressors> {
    let mut all = inner_registry();
    all.0.push(entry::<multi_step::MultiStep>());
    all
}

/// The compressors that a composition may wrap.
fn inner_registry() -> Registry<Compressors> {
    Registry(vec![entry::<identity::Identity>(), entry::<rand_k::RandK>(), entry::<top_k::TopK>()])
}

/// K = max(1, round(ratio d)).
fn kept(ratio: f64, dim: usize) -> usize {
    ((ratio * dim as f64).round() as usize).clamp(1, dim)
}
