//! Algorithms: one file each, reading like its pseudo-code. They know neither bytes nor ranks nor
//! files.
//!
//! To add one: implement [`Algorithm`] and [`AlgorithmKind`], add it to [`registry`]. Tables of
//! tests (`tests/algorithms.rs`, `tests/common/methods.rs`) then ask for an example.
//!
//! Notation: x, y, z are the upper-level, lower-level and auxiliary variables; D_i the stochastic
//! directions of worker i; alpha, beta, gamma the step sizes of x, y, z; Clip(z; rho) =
//! z min(1, rho/|z|). Every mean over workers is a sum in worker order.

mod amigo;
mod c_soba;
mod cm_soba;
mod ef_soba;
mod f2sa;
mod ma_soba;
mod one_by_one;
mod soba;
mod stocbio;

use std::ops::Range;

use serde_json::Value;

use crate::archive::{Archive, Holder};
use crate::config::KeyError;
use crate::net::{Net, NetError};
use crate::problems::ProblemFacts;
use crate::registry::{Entry, Family, Kind, Registry, parameters};
use crate::scalar::Scalar;
use crate::vars::{Blocks, Vars, add_scaled, clip};
use crate::workers::Workers;

/// A method, with its state on this rank.
pub trait Algorithm<F: Scalar> {
    /// Iteration k (from 0) of the listing.
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError>;

    /// The iterate that is evaluated and hashed; the server's, meaningless on other ranks.
    fn iterate(&self) -> &Vars<F>;

    /// Shows a holder's state to `archive` ([`crate::archive`]): whatever a step leaves that a later one
    /// reads. The server's at any rank; a worker's at the rank that hosts it, as long for each of them.
    fn state(&mut self, of: Holder, archive: &mut Archive<'_>);

    /// The rounds of an iteration, from which its bytes are foretold.
    fn rounds(&self) -> Vec<(u64, Blocks)> {
        vec![(1, Blocks::ALL)]
    }
}

/// The family of algorithms.
pub struct Algorithms;

/// What building an algorithm needs besides its parameters.
pub struct AlgorithmContext<F> {
    /// Where the run starts.
    pub start: Vars<F>,
    /// The workers of this rank.
    pub hosted: Range<usize>,
    /// What the problem is like.
    pub problem: ProblemFacts,
}

/// What the plan must know of a kind of algorithm.
#[derive(Clone, Copy, Debug)]
pub struct AlgorithmFacts {
    /// It sends compressed vectors, and so needs compressors.
    pub compressed: bool,
    /// The kinds of feedback that it may use; the first is the default.
    pub feedback: &'static [&'static str],
    /// The z of its iterate estimates z*, the solution of the hypergradient's linear system.
    pub auxiliary: bool,
}

impl Family for Algorithms {
    type Of<F: Scalar> = dyn Algorithm<F>;
    type Context<'a, F: Scalar> = AlgorithmContext<F>;
    type Error = KeyError;
    type Facts = AlgorithmFacts;
    const WORD: &'static str = "algorithm";
}

/// A kind of algorithm: its parameters and how to build it.
pub trait AlgorithmKind: Kind {
    /// What the plan must know.
    const FACTS: AlgorithmFacts;
    /// Whether the method can be run on a problem of this sort.
    fn suits(&self, _problem: ProblemFacts) -> Result<(), KeyError> {
        Ok(())
    }
    /// Builds this rank's part.
    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>>;
}

fn entry<K: AlgorithmKind>() -> Entry<Algorithms> {
    fn build<K: AlgorithmKind, F: Scalar>(
        value: Value,
        context: AlgorithmContext<F>,
    ) -> Result<Box<dyn Algorithm<F>>, KeyError> {
        let kind = parameters::<K>(value)?;
        kind.suits(context.problem)?;
        Ok(kind.build(context))
    }
    Entry::new::<K>(
        K::FACTS,
        |v, context| build::<K, f32>(v, context),
        |v, context| build::<K, f64>(v, context),
    )
}

/// Every algorithm.
pub fn registry() -> Registry<Algorithms> {
    Registry(vec![
        entry::<soba::Soba>(),
        entry::<c_soba::CSoba>(),
        entry::<cm_soba::CmSoba>(),
        entry::<ef_soba::EfSoba>(),
        entry::<ma_soba::MaSoba>(),
        entry::<amigo::Amigo>(),
        entry::<stocbio::StocBio>(),
        entry::<f2sa::F2sa>(),
    ])
}

/// y+ = y - beta D_y and z+ = Clip(z - gamma D_z; rho), the server's steps that all share.
fn descend_lower<F: Scalar>(
    server: &mut Vars<F>,
    d: &Vars<F>,
    beta: F,
    gamma: F,
    rho: Option<f64>,
) {
    let (_, y, z) = server.split_mut();
    add_scaled(y, -beta, d.y());
    add_scaled(z, -gamma, d.z());
    if let Some(rho) = rho {
        clip(z, rho);
    }
}
