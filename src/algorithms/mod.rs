//! Algorithms: one file each, reading like its pseudo-code. They know neither bytes nor ranks nor
//! files.
//!
//! To add one: implement [`Algorithm`] and [`AlgorithmKind`], add it to [`registry`]. Tables of
//! tests (`tests/library/algorithms.rs`, `tests/common/methods.rs`) then ask for an example.
//!
//! Notation: x, y, z are the upper-level, lower-level and auxiliary variables; D_i the stochastic
//! directions of worker i; alpha, beta, gamma the step sizes of x, y, z; Clip(z; rho) =
//! z min(1, rho/|z|). Every mean over workers is a sum in worker order.

mod agents;
mod amigo;
mod c_soba;
mod cm_soba;
mod d_soba;
mod d_soba_fo;
mod ef_soba;
mod f2sa;
mod ma_soba;
mod one_by_one;
mod soba;
mod sparkle;
mod stocbio;

use std::ops::Range;

use serde_json::Value;

use crate::archive::{Archive, Holder};
use crate::config::KeyError;
use crate::graph::Graph;
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

    /// The iterate that is evaluated and hashed: the server's, meaningless on other ranks, or without a
    /// server the agents' mean as it was last shown.
    fn iterate(&self) -> &Vars<F>;

    /// Shows a holder's state to `archive` ([`crate::archive`]): whatever a step leaves that a later one
    /// reads. The server's at any rank; a worker's at the rank that hosts it, as long for each of them.
    fn state(&mut self, of: Holder, archive: &mut Archive<'_>);

    /// Brings the iterate that is evaluated to every rank's `shown`, and tells the consensus errors of x, y
    /// and z where workers have iterates of their own: NaN with a server.
    fn show(
        &mut self,
        k: u64,
        net: &mut Net<'_, F>,
        shown: &mut Vars<F>,
    ) -> Result<[f64; 3], NetError> {
        net.show(k, self.iterate(), shown)?;
        Ok([f64::NAN; 3])
    }

    /// The rounds of an iteration, from which its bytes are foretold.
    fn rounds(&self) -> Vec<(u64, Blocks)> {
        vec![(1, Blocks::ALL)]
    }
}

/// The family of algorithms.
pub struct Algorithms;

/// What building an algorithm needs besides its parameters.
pub struct AlgorithmContext<'a, F> {
    /// Where the run starts.
    pub start: Vars<F>,
    /// The workers of this rank.
    pub hosted: Range<usize>,
    /// What the problem is like.
    pub problem: ProblemFacts,
    /// The graphs of x, y and z, where there is no server.
    pub graphs: Option<&'a [Graph; 3]>,
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
    /// It has no server: workers talk to their neighbours on a graph.
    pub neighbours: bool,
}

impl Family for Algorithms {
    type Of<F: Scalar> = dyn Algorithm<F>;
    type Context<'a, F: Scalar> = AlgorithmContext<'a, F>;
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
    /// Whether it can be run on these graphs of x, y and z.
    fn suits_graphs(&self, _graphs: &[Graph; 3]) -> Result<(), KeyError> {
        Ok(())
    }
    /// Builds this rank's part.
    fn build<F: Scalar>(&self, context: AlgorithmContext<'_, F>) -> Box<dyn Algorithm<F>>;
}

fn entry<K: AlgorithmKind>() -> Entry<Algorithms> {
    fn build<K: AlgorithmKind, F: Scalar>(
        value: Value,
        context: AlgorithmContext<'_, F>,
    ) -> Result<Box<dyn Algorithm<F>>, KeyError> {
        let kind = parameters::<K>(value)?;
        kind.suits(context.problem)?;
        context.graphs.map_or(Ok(()), |graphs| kind.suits_graphs(graphs))?;
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
        entry::<d_soba::DSoba>(),
        entry::<d_soba_fo::DSobaFo>(),
        entry::<sparkle::Sparkle>(),
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
