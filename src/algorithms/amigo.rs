//! AmIGO, distributed (Arbel, Mairal: Amortized implicit differentiation for stochastic bilevel
//! optimization, ICLR 2022): loops for the lower level and the linear system, both warm-started.
//!
//! ```text
//! repeat T times:  worker i:  send D_y,i                  a fresh lower-level batch each time
//!                  server:    y = y - beta mean_i D_y,i;  broadcast y
//! repeat N times:  worker i:  send D_z,i                  fresh lower-level, one upper-level batch
//!                  server:    z = Clip(z - gamma mean_i D_z,i; rho);  broadcast z
//! worker i:  send D_x,i                                   a fresh lower-level, that upper-level batch
//! server:    x = x - alpha mean_i D_x,i;  broadcast x
//! ```
//!
//! The paper's linear system is that of -z. Everything travels uncompressed: (T + N) q + p numbers up
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
use crate::vars::{Blocks, Vars, clip};
use crate::workers::Workers;

/// Parameters of AmIGO.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amigo {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// T: steps of y in an iteration.
    #[serde(default = "ten_steps")]
    inner_steps: Count,
    /// N: steps of z in an iteration.
    #[serde(default = "ten_steps")]
    linear_steps: Count,
    /// Clip radius of z; left out: no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<Positive>,
}

impl Kind for Amigo {
    const KIND: &'static str = "amigo";
    const SUMMARY: &'static str =
        "loops for the lower level and the linear system, warm-started, uncompressed";
    const SOURCE: &'static str = "Arbel, Mairal, ICLR 2022";
}

impl AlgorithmKind for Amigo {
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
            gamma: F::lit(self.gamma.get()),
            inner: self.inner_steps.get(),
            linear: self.linear_steps.get(),
            rho: self.rho.map_or(f64::INFINITY, Positive::get),
            iterate: OneByOne::new(context.start),
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    gamma: F,
    inner: usize,
    linear: usize,
    rho: f64,
    iterate: OneByOne<F>,
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { alpha, beta, gamma, inner, linear, rho, ref mut iterate } = *self;
        for t in 0..inner {
            iterate.descend(Round::of(k, Y).lower(t), beta, |_| (), workers, net)?;
        }
        for n in inner..inner + linear {
            iterate.descend(Round::of(k, Z).lower(n), gamma, |z| clip(z, rho), workers, net)?;
        }
        iterate.descend(Round::of(k, X).lower(inner + linear), alpha, |_| (), workers, net)
    }

    fn iterate(&self) -> &Vars<F> {
        &self.iterate.server
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.iterate.state(of, archive);
    }

    fn rounds(&self) -> Vec<(u64, Blocks)> {
        vec![(self.inner as u64, Y), (self.linear as u64, Z), (1, X)]
    }
}
