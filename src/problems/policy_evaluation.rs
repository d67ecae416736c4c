//! Policy evaluation by many agents (after Yang, Zhang, Wang: Decentralized gossip-based stochastic bilevel
//! optimization over communication networks, NeurIPS 2022): the value of a Markov chain's S states as a
//! linear function phi_s'x of m features, where each agent sees rewards of its own. The lower level is an
//! expectation over the next state.
//!
//! ```text
//! g_i(x, y) = 1/2 sum_s E_{s'|s} (y_s - r_i(s, s') - discount phi_s''x)^2        y*_s: what Bellman's equation says of s
//! f_i(x, y) = 1/(2S) sum_s (phi_s'x - y_s)^2                                     Phi: its squared residual
//!
//! phi [S x m], rows of the transition matrix before division by their sums: uniform on (0, 1)
//! r_i = r_0 + h r~_i [S x S],  r_0 uniform on (0, 1),  r~_i standard normal
//! ```
//!
//! h is the heterogeneity. A lower-level mini-batch is so many next states of every state, an upper-level
//! one so many states, drawn uniformly. The common draws come first and do not depend on the number of
//! workers.

use std::ops::Range;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Draw, FullSample, Losses, Problem, ProblemContext, ProblemError, ProblemKind, directions_of,
};
use crate::config::{Count, NonNegative, Share};
use crate::key::{Key, Stream};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Blocks, Dims, Vars, add_scaled, dot};

/// Parameters of policy evaluation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEvaluation {
    /// S, the states of the chain and the length of y.
    states: Count,
    /// m, the features of a state and the length of x.
    features: Count,
    /// How much the next state's value counts.
    discount: Share,
    /// h: how far the workers' rewards lie from the common ones.
    heterogeneity: NonNegative,
    /// Next states of every state in a lower-level mini-batch.
    batch_lower: Count,
    /// States in an upper-level mini-batch.
    batch_upper: Count,
    /// Seed of the chain, the features and the rewards, apart from the run's.
    data_seed: u64,
}

impl Default for PolicyEvaluation {
    fn default() -> Self {
        Self {
            states: Count::constant(50.0),
            features: Count::constant(10.0),
            discount: Share::constant(0.9),
            heterogeneity: NonNegative::constant(1.0),
            batch_lower: Count::constant(1.0),
            batch_upper: Count::constant(10.0),
            data_seed: 0,
        }
    }
}

impl Kind for PolicyEvaluation {
    const KIND: &'static str = "policy-evaluation";
    const SUMMARY: &'static str =
        "a linear value function on a Markov chain whose rewards differ from worker to worker";
    const SOURCE: &'static str = "after Yang, Zhang, Wang, NeurIPS 2022";
}

impl ProblemKind for PolicyEvaluation {
    fn build<F: Scalar>(
        &self,
        context: ProblemContext<'_>,
    ) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let dims = super::dims::<F>(Some(self.features.get()), Some(self.states.get()))?;
        Ok(Box::new(Rank::new(self, dims, context.hosted)))
    }
}

/// What all workers share.
struct Chain {
    dims: Dims,
    discount: f64,
    /// phi [S x m].
    features: Vec<f64>,
    /// Probabilities of the next state [S x S].
    next: Vec<f64>,
    /// Sums of those up to each state, from which it is drawn.
    sums: Vec<f64>,
}

struct Rank {
    chain: Chain,
    batch: [usize; 2],
    first: usize,
    /// r_i [S x S] of the hosted workers.
    rewards: Vec<Vec<f64>>,
}

impl Rank {
    fn new(kind: &PolicyEvaluation, dims: Dims, hosted: Range<usize>) -> Self {
        let Dims { upper: m, lower: states } = dims;
        let key = Key::shared(kind.data_seed, Stream::ProblemData);
        let mut rng = key.rng();
        // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
        let some = |len: usize| if hosted.is_empty() { 0 } else { len };
        let mut uniform =
            |len: usize| -> Vec<f64> { (0..some(len)).map(|_| rng.random::<f64>()).collect() };
        let features = uniform(states * m);
        let mut next = uniform(states * states);
        let common = uniform(states * states);
        let mut sums = vec![];
        for row in next.chunks_exact_mut(states) {
            let sum: f64 = row.iter().sum();
            let mut upto = 0.0;
            for p in row {
                *p /= sum;
                upto += *p;
                sums.push(upto);
            }
        }
        let h = kind.heterogeneity.get();
        let rewards = |worker: usize| {
            let mut rng = key.numbered(1).worker(worker).rng();
            let own = |r: &f64| r + h * Distribution::<f64>::sample(&StandardNormal, &mut rng);
            common.iter().map(own).collect()
        };
        Self {
            batch: [kind.batch_lower.get(), kind.batch_upper.get()],
            first: hosted.start,
            rewards: hosted.map(rewards).collect(),
            chain: Chain { dims, discount: kind.discount.get(), features, next, sums },
        }
    }

    /// The worker's mini-batches, transitions and states with their weights.
    fn sample<'a>(&'a self, draw: Draw, x: &'a [f64]) -> Sample<'a> {
        let states = self.chain.dims.lower;
        let [lower, upper] = self.batch;
        let mut rng = draw.key(Stream::BatchLower).rng();
        let mut transition = |at: usize| {
            let s = at / lower;
            let sums = &self.chain.sums[s * states..(s + 1) * states];
            let drawn: f64 = rng.random();
            // Rounding may leave the last sum below 1.
            let next = sums.partition_point(|&upto| upto <= drawn).min(states - 1);
            (s, next, 1.0 / lower as f64)
        };
        let transitions = (0..states * lower).map(&mut transition).collect();
        let chosen = draw.batch(Stream::BatchUpper, states, upper);
        let chosen = chosen.into_iter().map(|s| (s, 1.0 / upper as f64)).collect();
        self.sample_of(draw.worker, x, transitions, chosen)
    }

    fn sample_of<'a>(
        &'a self,
        worker: usize,
        x: &[f64],
        transitions: Vec<(usize, usize, f64)>,
        chosen: Vec<(usize, f64)>,
    ) -> Sample<'a> {
        let chain = &self.chain;
        let values = chain.features.chunks_exact(chain.dims.upper).map(|phi| dot(phi, x)).collect();
        Sample { chain, rewards: &self.rewards[worker - self.first], values, transitions, chosen }
    }
}

/// Transitions (s, s', weight) and states (s, weight), which may be all there are.
struct Sample<'a> {
    chain: &'a Chain,
    rewards: &'a [f64],
    /// phi_s'x of every state.
    values: Vec<f64>,
    transitions: Vec<(usize, usize, f64)>,
    chosen: Vec<(usize, f64)>,
}

impl Sample<'_> {
    /// y_s - r(s, s') - discount phi_s''x.
    fn residual(&self, y: &[f64], s: usize, next: usize) -> f64 {
        y[s] - self.rewards[s * y.len() + next] - self.chain.discount * self.values[next]
    }

    /// out += sum_s of[s] phi_s.
    fn add_features(&self, of: &[f64], out: &mut [f64]) {
        for (&of, phi) in of.iter().zip(self.chain.features.chunks_exact(out.len())) {
            add_scaled(out, of, phi);
        }
    }

    /// grad_x g, written over `out`.
    fn lower_gradient_x(&self, y: &[f64], out: &mut [f64]) {
        let mut along = vec![0.0; y.len()];
        for &(s, next, weight) in &self.transitions {
            along[next] -= weight * self.chain.discount * self.residual(y, s, next);
        }
        out.fill(0.0);
        self.add_features(&along, out);
    }
}

impl FullSample for Sample<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for &(s, next, weight) in &self.transitions {
            out[s] += weight * self.residual(y, s, next);
        }
    }

    fn lower_hessian(&self, _y: &[f64], v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for &(s, _, weight) in &self.transitions {
            out[s] += weight * v[s];
        }
    }

    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for &(s, weight) in &self.chosen {
            out[s] += weight * (y[s] - self.values[s]);
        }
    }

    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        let mut along = vec![0.0; y.len()];
        for &(s, weight) in &self.chosen {
            along[s] += weight * (self.values[s] - y[s]);
        }
        for &(s, next, weight) in &self.transitions {
            along[next] -= weight * self.chain.discount * z[s];
        }
        out.fill(0.0);
        self.add_features(&along, out);
    }

    fn losses(&self, y: &[f64]) -> Losses {
        let lower =
            self.transitions.iter().map(|&(s, next, w)| w * self.residual(y, s, next).powi(2));
        let upper = self.chosen.iter().map(|&(s, w)| w * (self.values[s] - y[s]).powi(2));
        Losses { upper: 0.5 * upper.sum::<f64>(), lower: 0.5 * lower.sum::<f64>() }
    }
}

impl<F: Scalar> Problem<F> for Rank {
    fn dims(&self) -> Dims {
        self.chain.dims
    }

    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Losses {
        let x: Vec<f64> = at.x().iter().map(|x| x.wide()).collect();
        directions_of(&self.sample(draw, &x), wanted, at, out)
    }

    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]) {
        let wide = at.wide();
        let mut gradient = vec![0.0; out.len()];
        self.sample(draw, wide.x()).lower_gradient_x(wide.y(), &mut gradient);
        out.iter_mut().zip(&gradient).for_each(|(out, &g)| *out = F::lit(g));
    }

    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        let states = self.chain.dims.lower;
        let transition = |(at, &p): (usize, &f64)| (at / states, at % states, p);
        let transitions = self.chain.next.iter().enumerate().map(transition).collect();
        let chosen = (0..states).map(|s| (s, 1.0 / states as f64)).collect();
        Box::new(self.sample_of(worker, x, transitions, chosen))
    }

    fn footprint(&self, workers: Range<usize>) -> usize {
        let Dims { upper: m, lower: states } = self.chain.dims;
        // A full sample's transitions are made for an evaluation.
        f64::BYTES * states * (m + states * (2 + 4 * workers.len()))
    }
}
