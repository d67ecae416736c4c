//! F2SA, distributed (Kwon, Kwon, Wright, Nowak: A fully first-order method for stochastic bilevel
//! optimization, ICML 2023): the hypergradient without second derivatives, from two lower-level
//! variables, y towards the minimiser of g and u towards that of f + lambda g.
//!
//! ```text
//! repeat T times:  worker i:  send grad_y G_i(x, y; xi)
//!                             and  grad_y F_i(x, u) + lambda grad_y G_i(x, u; xi')    fresh batches each time
//!                  server:    y = y - beta mean_i (the first)
//!                             u = u - gamma mean_i (the second);  broadcast y and u
//! worker i:  send grad_x F_i(x, u) + lambda (grad_x G_i(x, u; xi) - grad_x G_i(x, y; xi))
//! server:    x = x - alpha mean_i (that);  broadcast x
//! lambda = lambda + lambda_step                                                       at the end
//! ```
//!
//! (The paper writes z for our y and y for our u.) The iterate's y is the estimate of the lower level's
//! solution, as in every method. Its z holds u, which estimates no solution of a linear system: its
//! distance from one is not reported. The fixed point is off by O(1 / lambda). The step of u by g is
//! gamma lambda: best near beta, since a u that moves ahead of y drives x the wrong way, by lambda. Both lower-level gradients of x's round are of one batch.
//!
//! Derivatives of F alone are those of a worker's directions at z = 0. Everything travels uncompressed:
//! 2 T q + p numbers up and as many down in an iteration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one_by_one::{X, ten_steps};
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::archive::{Archive, Holder};
use crate::config::{Count, NonNegative, Positive};
use crate::net::{Net, NetError, Round};
use crate::problems::{Draw, Losses};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, add_scaled};
use crate::workers::{WorkerError, Workers};

/// Parameters of F2SA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct F2sa {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of u, the minimiser of f + lambda g.
    gamma: Positive,
    /// Weight of the lower level in the first iteration.
    #[serde(default = "one")]
    lambda: Positive,
    /// What is added to lambda after each iteration.
    #[serde(default = "nothing")]
    lambda_step: NonNegative,
    /// T: steps of y and u in an iteration.
    #[serde(default = "ten_steps")]
    inner_steps: Count,
}

fn one() -> Positive {
    Positive::constant(1.0)
}

fn nothing() -> NonNegative {
    NonNegative::constant(0.0)
}

impl Kind for F2sa {
    const KIND: &'static str = "f2sa";
    const SUMMARY: &'static str = "fully first-order: a penalised copy of the lower level, no second derivatives, uncompressed";
    const SOURCE: &'static str = "Kwon et al., ICML 2023";
}

impl AlgorithmKind for F2sa {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: false,
        neighbours: false,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<F>) -> Box<dyn Algorithm<F>> {
        let AlgorithmContext { start, .. } = context;
        let dims = start.dims();
        Box::new(State {
            alpha: F::lit(self.alpha.get()),
            beta: F::lit(self.beta.get()),
            gamma: F::lit(self.gamma.get()),
            lambda: self.lambda.get(),
            lambda_step: self.lambda_step.get(),
            inner: self.inner_steps.get(),
            penalised: Penalised { at: Vars::zeros(dims), d: Vars::zeros(dims) },
            v: start.clone(),
            server: start,
        })
    }
}

struct State<F> {
    alpha: F,
    beta: F,
    gamma: F,
    lambda: f64,
    lambda_step: f64,
    inner: usize,
    /// (x, y, u) at the server.
    server: Vars<F>,
    /// (x, y, u) as the workers hold it.
    v: Vars<F>,
    penalised: Penalised<F>,
}

/// What a worker computes at the penalised point.
struct Penalised<F> {
    /// (x, u, 0): a worker's directions there are grad_x F, grad_y G and grad_y F.
    at: Vars<F>,
    d: Vars<F>,
}

const Y_AND_U: Blocks = Blocks::of(&[Block::Y, Block::Z]);

impl<F: Scalar> Penalised<F> {
    /// Moves to where the workers' (x, y, u) is.
    fn follow(&mut self, v: &Vars<F>) {
        let (x, u, _) = self.at.split_mut();
        x.copy_from_slice(v.x());
        u.copy_from_slice(v.z());
    }

    /// out = grad_y F + lambda grad_y G at (x, u). Returns f there.
    fn lower_step(
        &mut self,
        draw: Draw,
        lambda: F,
        workers: &mut Workers<F>,
        out: &mut [F],
    ) -> Result<f64, WorkerError> {
        let losses = workers.directions(draw, Y_AND_U, &self.at, &mut self.d)?;
        out.copy_from_slice(self.d.z());
        add_scaled(out, lambda, self.d.y());
        Ok(losses.upper)
    }

    /// out = grad_x F + lambda (grad_x G at (x, u) - grad_x G at (x, y)), `v` being (x, y, u). Returns f
    /// at (x, u).
    fn upper_step(
        &mut self,
        draw: Draw,
        lambda: F,
        v: &Vars<F>,
        workers: &mut Workers<F>,
        out: &mut Vars<F>,
    ) -> Result<f64, WorkerError> {
        let losses = workers.directions(draw, X, &self.at, out)?;
        let (gradient, ..) = self.d.split_mut();
        let (x, ..) = out.split_mut();
        workers.lower_gradient_x(draw, &self.at, gradient)?;
        add_scaled(x, lambda, gradient);
        workers.lower_gradient_x(draw, v, gradient)?;
        add_scaled(x, -lambda, gradient);
        Ok(losses.upper)
    }
}

impl<F: Scalar> State<F> {
    /// Steps of y and u.
    fn descend_lower(
        &mut self,
        round: Round,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { v, penalised, .. } = self;
        let lambda = F::lit(self.lambda);
        penalised.follow(v);
        let directions = |draw: Draw, d: &mut Vars<F>| {
            let Losses { lower, .. } = workers.directions(draw, Blocks::of(&[Block::Y]), v, d)?;
            let other = Draw { lower: draw.lower + 1, ..draw };
            let (.., z) = d.split_mut();
            let upper = penalised.lower_step(other, lambda, workers, z)?;
            Ok(Losses { upper, lower })
        };
        if let Some(d) = net.mean_at_server(round, directions)? {
            let (_, y, u) = self.server.split_mut();
            add_scaled(y, -self.beta, d.y());
            add_scaled(u, -self.gamma, d.z());
        }
        net.publish(round, &self.server, &mut self.v)
    }

    /// Step of x.
    fn descend_upper(
        &mut self,
        round: Round,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { v, penalised, .. } = self;
        let lambda = F::lit(self.lambda);
        penalised.follow(v);
        let directions = |draw: Draw, d: &mut Vars<F>| {
            let upper = penalised.upper_step(draw, lambda, v, workers, d)?;
            Ok(Losses { upper, ..Losses::NONE })
        };
        if let Some(d) = net.mean_at_server(round, directions)? {
            let (x, ..) = self.server.split_mut();
            add_scaled(x, -self.alpha, d.x());
        }
        net.publish(round, &self.server, &mut self.v)
    }
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        for t in 0..self.inner {
            // Two lower-level batches a round.
            let round = Round::of(k, Y_AND_U).lower(2 * t).upper(t);
            self.descend_lower(round, workers, net)?;
        }
        let round = Round::of(k, X).lower(2 * self.inner).upper(self.inner);
        self.descend_upper(round, workers, net)?;
        self.lambda += self.lambda_step;
        Ok(())
    }

    fn iterate(&self) -> &Vars<F> {
        &self.server
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        if of == Holder::Server {
            archive.vector(self.server.as_mut_slice());
            archive.vector(self.v.as_mut_slice());
            archive.number(&mut self.lambda);
        }
    }

    fn rounds(&self) -> Vec<(u64, Blocks)> {
        vec![(self.inner as u64, Y_AND_U), (1, X)]
    }
}
