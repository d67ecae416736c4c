//! stocBiO, distributed (Ji, Yang, Liang: Bilevel optimization: convergence analysis and enhanced
//! design, ICML 2021): a loop for the lower level, and a Neumann series for the linear system.
//!
//! ```text
//! repeat T times:      worker i:  send D_y,i                  a fresh lower-level batch each time
//!                      server:    y = y - beta mean_i D_y,i;  broadcast y
//! z = 0, everywhere
//! repeat Q + 1 times:  worker i:  send D_z,i                  fresh lower-level, one upper-level batch
//!                      server:    z = z - eta mean_i D_z,i;   broadcast z
//! worker i:  send D_x,i                                       a fresh lower-level, that upper-level batch
//! server:    x = x - alpha mean_i D_x,i;  broadcast x
//! ```
//!
//! The series is the paper's. Let b = grad_y F on the one upper-level batch and H_j the lower-level
//! Hessian on the batch of step j = 0 .. Q. Each step is z <- (I - eta H_j) z - eta b, so from z = 0
//!
//! ```text
//! -z = eta sum_{q=-1}^{Q-1} [(I - eta H_Q) ... (I - eta H_{Q-q})] b      q = -1: the empty product
//! ```
//!
//! the sum of Q + 1 terms that the paper takes for H^-1 b (our z has the other sign). Within a term the
//! paper's algorithm applies the factor of H_Q first, and here it comes last: the same where Hessians of
//! different batches commute, and the same in expectation, the batches being independent. All batches
//! are of one length, that of the problem. Step 0 multiplies no Hessian, z being 0, but is a round like
//! the others: b has to be averaged, too. Everything travels uncompressed: (T + Q + 1) q + p numbers up
//! and as many down in an iteration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_by_one::{OneByOne, X, Y, Z, ten_steps};
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::archive::{Archive, Holder};
use crate::config::{Count, Positive};
use crate::net::{Net, NetError, Round};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars};
use crate::workers::Workers;

/// Parameters of stocBiO.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StocBio {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of the Neumann series.
    eta: Positive,
    /// T: steps of y in an iteration.
    #[serde(default = "ten_steps")]
    inner_steps: Count,
    /// Q: Hessians in the Neumann series, which has one term more.
    #[serde(default = "ten_steps")]
    neumann_steps: Count,
}

impl Kind for StocBio {
    const KIND: &'static str = "stocbio";
    const SUMMARY: &'static str =
        "a loop for the lower level and a Neumann series for the linear system, uncompressed";
    const SOURCE: &'static str = "Ji, Yang, Liang, ICML 2021";
}

impl AlgorithmKind for StocBio {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: false,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        Box::new(State {
            alpha: F::lit(self.alpha.get()),
            beta: F::lit(self.beta.get()),
            eta: F::lit(self.eta.get()),
            inner: self.inner_steps.get(),
            terms: self.neumann_steps.get() + 1,
            iterate: OneByOne::new(context.start),
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    eta: F,
    inner: usize,
    /// Q + 1.
    terms: usize,
    iterate: OneByOne<F>,
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { alpha, beta, eta, inner, terms, ref mut iterate } = *self;
        for t in 0..inner {
            iterate.descend(Round::of(k, Y).lower(t), beta, |_| (), workers, net)?;
        }
        for z in [&mut iterate.server, &mut iterate.v] {
            z.block_mut(Block::Z).fill(F::zero());
        }
        for j in inner..inner + terms {
            iterate.descend(Round::of(k, Z).lower(j), eta, |_| (), workers, net)?;
        }
        iterate.descend(Round::of(k, X).lower(inner + terms), alpha, |_| (), workers, net)
    }

    fn iterate(&self) -> &Vars<F> {
        &self.iterate.server
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.iterate.state(of, archive);
    }

    fn rounds(&self) -> Vec<(u64, Blocks)> {
        vec![(self.inner as u64, Y), (self.terms as u64, Z), (1, X)]
    }
}
