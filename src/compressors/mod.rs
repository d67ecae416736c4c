//! Compressors: one file each, wire format private to its file.
//!
//! To add one: write its file, add it to the list at the end. The contract tests (`tests/library/compressors.rs`)
//! then ask for an example and hold it to the [`Bound`] that it declares.

mod bernoulli;
mod codec;
mod dithering;
mod identity;
mod low_rank;
mod multi_step;
mod natural;
mod on_support;
mod rand_block;
mod rand_k;
mod sign;
mod support;
mod ternary;
mod top_k;

use serde_json::Value;

use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{DecodeError, Packet};
use crate::registry::{Entry, Family, Kind, Registry, parameters};
use crate::scalar::Scalar;
use crate::vars::Layout;

pub use identity::{Dense, Identity};
pub use low_rank::LowRank;
pub use on_support::OnSupport;

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
        /// In [0, 1]; 0 promises no more than that nothing is added to the error.
        delta: f64,
    },
}

impl Bound {
    /// The factor with which C contracts: 1/(1 + omega) for an unbiased C, since C/(1 + omega) is
    /// contractive with delta = 1/(1 + omega); 1 for a contractive C. It is also the rate at which
    /// the memories of error feedback may follow (DIANA; EF21).
    pub fn contraction(self) -> f64 {
        match self {
            Self::Unbiased { omega } => 1.0 / (1.0 + omega),
            Self::Contractive { .. } => 1.0,
        }
    }
}

/// A vector with an infinite entry or one that is not a number cannot be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry is infinite or not a number")]
pub struct NotFinite;

/// What a compressor is built for.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The vectors that it compresses.
    pub layout: &'a Layout,
    /// Speed of the link in Gbit/s: which codes pay.
    pub link_gbit: f64,
}

impl<'a> Site<'a> {
    /// Vectors of this layout on a link of 1 Gbit/s.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, link_gbit: 1.0 }
    }

    /// d, the length of the vectors.
    pub fn dim(&self) -> usize {
        self.layout.dim()
    }
}

/// A randomised map R^d -> R^d with a packed form, for vectors of one length. Pure in (v, key): a
/// compressor may keep buffers and guesses that make it faster, but nothing that changes a packet.
pub trait Compressor<F: Scalar>: Send {
    /// What it promises.
    fn bound(&self) -> Bound;

    /// Appends the packet of C(v) to `out`, v [d]. It fails if an entry that C(v) depends on is
    /// infinite or not a number; `out` may then hold a part of a packet.
    fn encode(&mut self, v: &[F], key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite>;

    /// out += scale C(v), out [d], in O(entries sent). `key` is the sender's. On an error `out` may
    /// hold a part of the sum.
    fn decode_add(
        &mut self,
        packet: Packet<'_>,
        key: Key,
        scale: F,
        out: &mut [F],
    ) -> Result<(), DecodeError>;

    /// The most bytes that a packet may have, header included.
    fn max_packet(&self) -> usize;

    /// For compressors that are linear once the key is given: the number of raw values that a
    /// payload consists of. All workers then draw with one key, payloads may be added number by
    /// number, and the sum decodes to the sum of the C(v_i).
    fn summable(&self) -> Option<usize> {
        None
    }
}

/// The family of compressors.
pub struct Compressors;

impl Family for Compressors {
    type Of<F: Scalar> = dyn Compressor<F>;
    type Context<'a, F: Scalar> = Site<'a>;
    type Error = KeyError;
    type Facts = ();
    const WORD: &'static str = "compressor";
}

/// A kind of compressor: its parameters and how to build it.
pub trait CompressorKind: Kind {
    /// Builds it.
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Box<dyn Compressor<F>>, KeyError>;
}

fn entry<K: CompressorKind>() -> Entry<Compressors> {
    Entry::new::<K>(
        (),
        |value, site| parameters::<K>(value)?.build(site),
        |value, site| parameters::<K>(value)?.build(site),
    )
}

/// How a variable travels to the server.
pub enum Coder<F> {
    /// One packet of a compressor.
    Packet(Box<dyn Compressor<F>>),
    /// Two rounds of factors.
    LowRank(LowRank<F>),
}

impl<F: Scalar> Coder<F> {
    /// What it promises. Low rank never adds to the error, and promises no more.
    pub fn bound(&self) -> Bound {
        match self {
            Self::Packet(compressor) => compressor.bound(),
            Self::LowRank(_) => Bound::Contractive { delta: 0.0 },
        }
    }

    /// The most bytes of a worker's packets in one iteration, headers included.
    pub fn max_packets(&self) -> usize {
        match self {
            Self::Packet(compressor) => compressor.max_packet(),
            Self::LowRank(coder) => coder.left.max_packet() + coder.right.max_packet(),
        }
    }

    /// As [`Compressor::summable`].
    pub fn summable(&self) -> Option<usize> {
        match self {
            Self::Packet(compressor) => compressor.summable(),
            Self::LowRank(_) => None,
        }
    }
}

/// The family of all that may stand under the config key `compressor`.
pub struct Coders;

/// What the plan must know of a kind of coder.
#[derive(Clone, Copy, Debug)]
pub struct CoderFacts {
    /// It needs the server between two rounds, and feedback.
    pub two_rounds: bool,
}

impl Family for Coders {
    type Of<F: Scalar> = Coder<F>;
    type Context<'a, F: Scalar> = Site<'a>;
    type Error = KeyError;
    type Facts = CoderFacts;
    const WORD: &'static str = "compressor";
}

/// A kind of coder: its parameters and how to build it.
trait CoderKind: Kind {
    const FACTS: CoderFacts = CoderFacts { two_rounds: false };

    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Coder<F>, KeyError>;
}

impl<K: CompressorKind> CoderKind for K {
    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Coder<F>, KeyError> {
        Ok(Coder::Packet(CompressorKind::build(self, site)?))
    }
}

fn coder<K: CoderKind>() -> Entry<Coders> {
    Entry::new::<K>(
        K::FACTS,
        |value, site| Ok(Box::new(parameters::<K>(value)?.build(site)?)),
        |value, site| Ok(Box::new(parameters::<K>(value)?.build(site)?)),
    )
}

/// The entries of every compressor but `multi-step`, which may wrap any of these.
macro_rules! entries {
    ($entry:ident) => {
        vec![
            $entry::<identity::Identity>(),
            $entry::<rand_k::RandK>(),
            $entry::<rand_block::RandBlock>(),
            $entry::<bernoulli::Bernoulli>(),
            $entry::<natural::Natural>(),
            $entry::<dithering::Dithering>(),
            $entry::<ternary::Ternary>(),
            $entry::<sign::Sign>(),
            $entry::<top_k::TopK>(),
        ]
    };
}

/// Every compressor, and low rank.
pub fn coders() -> Registry<Coders> {
    let mut all = entries!(coder);
    all.extend([coder::<multi_step::MultiStep>(), coder::<low_rank::LowRankKind>()]);
    Registry(all)
}

/// Every compressor.
pub fn registry() -> Registry<Compressors> {
    let mut all = inner_registry();
    all.0.push(entry::<multi_step::MultiStep>());
    all
}

/// The compressors that a composition may wrap.
fn inner_registry() -> Registry<Compressors> {
    Registry(entries!(entry))
}

/// Refuses `"shared": true` where nobody sums packets.
fn refuse_shared(config: &Value) -> Result<(), KeyError> {
    if config["shared"] != true {
        return Ok(());
    }
    let problem = "packets are not summed here, so a support that all workers share has no use; \
                   remove this key";
    Err(KeyError::value("shared", problem.into()))
}

/// The resolved compressor of a place where packets are not summed.
pub fn resolve_unshared(config: &Value) -> Result<Value, KeyError> {
    refuse_shared(config)?;
    registry().resolve(config)
}

/// K = max(1, round(ratio d)).
fn kept(ratio: f64, dim: usize) -> usize {
    ((ratio * dim as f64).round() as usize).clamp(1, dim)
}
