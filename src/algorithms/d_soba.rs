//! D-SOBA, second order (Kong, Zhu, Lu, Huang, Yuan: Decentralized bilevel optimization, JMLR 2025):
//! SOBA without a server, adapt then combine, with one exchange of (x, y, z) an iteration.
//!
//! ```text
//! agent i:  h_i+ = (1 - theta) h_i + theta D_x,i                 all directions at the old point; h = 0 at the start
//!           y_i+ = mix(y - beta D_y);   z_i+ = mix(z - gamma D_z);   x_i+ = mix(x - alpha h+)
//! mix(s)_i = sum_j w_ij s_j                                      in ascending j; compressed: see `net/gossip`
//! ```
//!
//! On the complete graph with uniform weights this is CM-SOBA without compression and clip. On
//! heterogeneous agents a constant step leaves it at a distance from the solution that grows as the
//! spectral gap of the graph shrinks: SPARKLE corrects that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::Agents;
use super::d_soba_fo::Differences;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::archive::{Archive, Holder};
use crate::config::{Positive, Ratio};
use crate::net::{Net, NetError, Site};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, add_scaled, average_in};
use crate::workers::Workers;

/// Parameters of D-SOBA.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DSoba {
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Weight of the newest direction in the moving average.
    #[serde(default = "one")]
    theta: Ratio,
    /// How the step sizes change.
    #[serde(default)]
    decay: Decay,
}

/// How step sizes change over the iterations k = 0, 1, ..
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Decay {
    /// Not at all.
    #[default]
    None,
    /// As 1 / sqrt(k + 1).
    InverseSqrt,
}

impl Decay {
    /// The factor of iteration k.
    fn factor(self, k: u64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::InverseSqrt => 1.0 / ((k + 1) as f64).sqrt(),
        }
    }
}

/// Step sizes of x, y and z, and the weight of the newest direction.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub alpha: Positive,
    pub beta: Positive,
    pub gamma: Positive,
    pub theta: Ratio,
    pub decay: Decay,
}

fn one() -> Ratio {
    Ratio::constant(1.0)
}

impl Kind for DSoba {
    const KIND: &'static str = "d-soba";
    const SUMMARY: &'static str =
        "SOBA on a graph, without a server: adapt, then mix with neighbours";
    const SOURCE: &'static str = "Kong et al., JMLR 2025";
}

impl AlgorithmKind for DSoba {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: true,
    };

    fn build<F: Scalar>(&self, context: AlgorithmContext<'_, F>) -> Box<dyn Algorithm<F>> {
        let Self { alpha, beta, gamma, theta, decay } = *self;
        Box::new(State::new(Steps { alpha, beta, gamma, theta, decay }, None, context))
    }
}

pub(super) struct State<F> {
    steps: Steps,
    /// In place of second derivatives.
    differences: Option<Differences<F>>,
    agents: Agents<F>,
    /// Moving averages h_i [p] of the hosted agents.
    h: Vec<Vec<F>>,
}

impl<F: Scalar> State<F> {
    pub fn new(
        steps: Steps,
        differences: Option<Differences<F>>,
        context: AlgorithmContext<'_, F>,
    ) -> Self {
        let AlgorithmContext { start, hosted, .. } = context;
        let h = vec![vec![F::zero(); start.dims().upper]; hosted.len()];
        Self { steps, differences, h, agents: Agents::new(hosted, start) }
    }
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        let Self { steps, differences, agents, h } = self;
        let factor = steps.decay.factor(k);
        let [alpha, beta, gamma] =
            [steps.alpha, steps.beta, steps.gamma].map(|step| F::lit(factor * step.get()));
        let theta = F::lit(steps.theta.get());
        agents.directions(k, Blocks::ALL, net, |draw, v, d| match differences {
            Some(differences) => differences.directions(draw, workers, v, d),
            None => workers.directions(draw, Blocks::ALL, v, d),
        });
        for (place, agent) in agents.places() {
            let (v, d, h) = (&mut agents.v[place], &agents.d[place], &mut h[place]);
            average_in(h, theta, d.x());
            let (x, y, z) = v.split_mut();
            add_scaled(x, -alpha, h);
            add_scaled(y, -beta, d.y());
            add_scaled(z, -gamma, d.z());
            for block in Block::ALL {
                net.put(k, Site::iterate(block), agent, v.block(block))?;
            }
        }
        net.swap(k)?;
        for (place, agent) in agents.places() {
            for block in Block::ALL {
                let v = agents.v[place].block_mut(block);
                net.take(k, Site::iterate(block), agent, v)?;
            }
        }
        net.close(k)
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.agents.state(of, archive);
        if let Holder::Worker(agent) = of {
            archive.vector(&mut self.h[agent - self.agents.hosted.start]);
        }
    }

    fn iterate(&self) -> &Vars<F> {
        &self.agents.mean
    }

    fn show(
        &mut self,
        _k: u64,
        net: &mut Net<'_, F>,
        shown: &mut Vars<F>,
    ) -> Result<[f64; 3], NetError> {
        self.agents.show(net, shown)
    }
}
