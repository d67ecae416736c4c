//! SPARKLE (Zhu, Kong, Lu, Huang, Yuan: SPARKLE: a unified single-loop primal-dual framework for
//! decentralized bilevel optimization, NeurIPS 2024): for each of x, y and z a strategy that corrects what
//! the agents' differing losses do to gossip with a constant step.
//!
//! ```text
//! agent i, gauss-seidel:  y+ by the strategy of y with D_y(x, y)
//!                         z+ by that of z with D_z(x, y+, z)
//!                         r+ = (1 - theta) r + theta D_x(x, y+, z+)          r = 0 at the start
//!                         x+ by that of x with r+
//!          jacobi:        all directions at (x, y, z)
//! ```
//!
//! The strategies are special cases of, for a variable s with direction D and step a,
//!
//! ```text
//! s+ = A (C s - a D) - B l;   l+ = l + B s+;   l = 0 at the start
//!
//! ed            A = W    B = (I - W)^1/2   C = I           one exchange        ed.rs
//! extra         A = I    B = (I - W)^1/2   C = W           one                 extra.rs
//! atc-gt        A = W^2  B = I - W         C = I           two, one by one     gt.rs
//! semi-atc-gt   A = W    B = I - W         C = W           two vectors in one
//! non-atc-gt    A = I    B = I - W         C = W^2         two vectors in one
//! gossip        A = W    B = 0             C = I           one                 gossip.rs
//! ```
//!
//! and run in the equal forms without l of their files. All agents start equal: the forms of gt are
//! those above only then. z is not clipped, which would break them. The three directions of an iteration
//! are of the same mini-batches.

mod ed;
mod extra;
mod gossip;
mod gt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::Agents;
use super::{Algorithm, AlgorithmContext, AlgorithmFacts, AlgorithmKind};
use crate::archive::{Archive, Holder};
use crate::config::{KeyError, Positive, Ratio};
use crate::graph::Graph;
use crate::net::{Net, NetError};
use crate::problems::Draw;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Vars, average_in};
use crate::workers::Workers;

/// How a variable is mixed and corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Name {
    /// Exact diffusion.
    Ed,
    /// EXTRA; needs a positive semidefinite mixing matrix.
    Extra,
    /// Gradient tracking, adapt then combine.
    AtcGt,
    /// Gradient tracking, the iterate adapted before it is combined, the tracker after.
    SemiAtcGt,
    /// Gradient tracking, adapted after it is combined.
    NonAtcGt,
    /// Without correction.
    Gossip,
}

/// A strategy for each variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Names {
    x: Name,
    y: Name,
    z: Name,
}

/// Where the directions of an iteration are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// Each at the newest point: y, then z, then x.
    #[default]
    GaussSeidel,
    /// All at the old point, in one exchange.
    Jacobi,
}

/// Parameters of SPARKLE.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sparkle {
    /// Of x, y and z: ed, extra, atc-gt, semi-atc-gt, non-atc-gt, or gossip (no correction).
    strategy: Names,
    /// Step size of x.
    alpha: Positive,
    /// Step size of y.
    beta: Positive,
    /// Step size of z.
    gamma: Positive,
    /// Weight of the newest direction in the moving average.
    #[serde(default = "one")]
    theta: Ratio,
    #[serde(default)]
    order: Order,
}

fn one() -> Ratio {
    Ratio::constant(1.0)
}

impl Kind for Sparkle {
    const KIND: &'static str = "sparkle";
    const SUMMARY: &'static str =
        "bilevel descent on a graph, heterogeneity corrected by ed, extra or gradient tracking";
    const SOURCE: &'static str = "Zhu et al., NeurIPS 2024";
}

impl Sparkle {
    fn name(&self, block: Block) -> Name {
        [self.strategy.x, self.strategy.y, self.strategy.z][block as usize]
    }

    fn step(&self, block: Block) -> f64 {
        [self.alpha, self.beta, self.gamma][block as usize].get()
    }
}

impl AlgorithmKind for Sparkle {
    const FACTS: AlgorithmFacts = AlgorithmFacts {
        compressed: false,
        feedback: &["none"],
        auxiliary: true,
        neighbours: true,
    };

    fn suits_graphs(&self, graphs: &[Graph; 3]) -> Result<(), KeyError> {
        for (block, graph) in Block::ALL.into_iter().zip(graphs) {
            let refuse = |problem: String| {
                Err(KeyError::value(&format!("strategy.{}", block.name()), problem))
            };
            let name = self.name(block);
            if name != Name::Gossip && !graph.is_symmetric() {
                let problem = "corrections need one symmetric mixing matrix; use \"exponential\" in \
                               place of \"one-peer-exponential\", or the strategy \"gossip\"";
                return refuse(problem.into());
            }
            let smallest = graph.smallest_eigenvalue();
            if name == Name::Extra && smallest < -1e-9 {
                let problem = format!(
                    "extra diverges where the mixing matrix has a negative eigenvalue, here \
                     {smallest:.3}; set \"mixing\": {{\"lazy\": true}}"
                );
                return refuse(problem);
            }
        }
        Ok(())
    }

    fn build<F: Scalar>(&self, context: AlgorithmContext<'_, F>) -> Box<dyn Algorithm<F>> {
        let AlgorithmContext { start, hosted, .. } = context;
        let dims = start.dims();
        let strategy = |block: Block| -> Box<dyn Strategy<F>> {
            let zeros = vec![vec![F::zero(); dims.blocks()[block as usize]]; hosted.len()];
            match self.name(block) {
                Name::Ed => Box::new(ed::Ed { e: zeros }),
                Name::Extra => Box::new(extra::Extra { e: zeros }),
                Name::AtcGt => Box::new(gt::Gt::new(gt::Form::Atc, zeros)),
                Name::SemiAtcGt => Box::new(gt::Gt::new(gt::Form::SemiAtc, zeros)),
                Name::NonAtcGt => Box::new(gt::Gt::new(gt::Form::NonAtc, zeros)),
                Name::Gossip => Box::new(gossip::Gossip),
            }
        };
        Box::new(State {
            steps: Block::ALL.map(|block| F::lit(self.step(block))),
            theta: F::lit(self.theta.get()),
            groups: match self.order {
                Order::GaussSeidel => {
                    [Block::Y, Block::Z, Block::X].map(|block| Blocks::of(&[block])).to_vec()
                }
                Order::Jacobi => vec![Blocks::ALL],
            },
            strategies: Block::ALL.map(strategy),
            r: vec![vec![F::zero(); dims.upper]; hosted.len()],
            agents: Agents::new(hosted, start),
        })
    }
}

/// One variable of a hosted agent in an iteration.
struct Turn<'a, F> {
    k: u64,
    block: Block,
    /// The agent, and its place among those of this rank.
    agent: usize,
    place: usize,
    /// a, the step size.
    step: F,
    /// s, the agent's iterate.
    s: &'a mut [F],
    /// D, the direction.
    d: &'a [F],
}

/// A strategy with its state for the hosted agents.
trait Strategy<F: Scalar> {
    /// Whether an exchange goes before the one of the iterate.
    fn has_prelude(&self) -> bool {
        false
    }

    /// What is sent in that exchange.
    fn send_prelude(&mut self, _turn: &Turn<'_, F>, _net: &mut Net<'_, F>) -> Result<(), NetError> {
        Ok(())
    }

    /// What becomes of it.
    fn receive_prelude(
        &mut self,
        _turn: &Turn<'_, F>,
        _net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        Ok(())
    }

    /// Whether what is sent does not depend on D: it travels while D is computed, if that holds for all
    /// variables that move together.
    fn sends_before(&self) -> bool {
        false
    }

    /// What is sent; if [`Strategy::sends_before`], D is not known yet.
    fn send(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError>;

    /// What becomes of it: s is then s+.
    fn receive(&mut self, turn: &mut Turn<'_, F>, net: &mut Net<'_, F>) -> Result<(), NetError>;

    /// Shows what it keeps of the hosted agent at this place.
    fn state(&mut self, place: usize, archive: &mut Archive<'_>);

    /// Vectors of the variable that an agent sends in an iteration.
    fn vectors(&self) -> u64 {
        1
    }
}

struct State<F> {
    /// Of x, y and z.
    steps: [F; 3],
    theta: F,
    /// The variables that move at a time, in order.
    groups: Vec<Blocks>,
    strategies: [Box<dyn Strategy<F>>; 3],
    agents: Agents<F>,
    /// Moving averages r_i [p] of the hosted agents.
    r: Vec<Vec<F>>,
}

impl<F: Scalar> State<F> {
    /// Every hosted agent's turn with each of these variables.
    fn turns(
        &mut self,
        k: u64,
        blocks: Blocks,
        mut turn: impl FnMut(&mut dyn Strategy<F>, &mut Turn<'_, F>) -> Result<(), NetError>,
    ) -> Result<(), NetError> {
        for (place, agent) in self.agents.places() {
            for block in blocks.iter() {
                let s = self.agents.v[place].block_mut(block);
                let d = self.agents.d[place].block(block);
                let step = self.steps[block as usize];
                let mut at = Turn { k, block, agent, place, step, s, d };
                turn(&mut *self.strategies[block as usize], &mut at)?;
            }
        }
        Ok(())
    }

    /// D_x = r+, if x is among them.
    fn average(&mut self, group: Blocks) {
        if group.has(Block::X) {
            for (d, r) in self.agents.d.iter_mut().zip(&mut self.r) {
                average_in(r, self.theta, d.x());
                d.block_mut(Block::X).copy_from_slice(r);
            }
        }
    }

    fn prelude(&mut self, k: u64, group: Blocks, net: &mut Net<'_, F>) -> Result<(), NetError> {
        if group.iter().any(|block| self.strategies[block as usize].has_prelude()) {
            self.turns(k, group, |strategy, turn| strategy.send_prelude(turn, net))?;
            net.swap(k)?;
            self.turns(k, group, |strategy, turn| strategy.receive_prelude(turn, net))?;
        }
        Ok(())
    }
}

impl<F: Scalar> Algorithm<F> for State<F> {
    fn step(
        &mut self,
        k: u64,
        workers: &mut Workers<F>,
        net: &mut Net<'_, F>,
    ) -> Result<(), NetError> {
        for at in 0..self.groups.len() {
            let group = self.groups[at];
            let oracle =
                |draw: Draw, v: &Vars<F>, d: &mut Vars<F>| workers.directions(draw, group, v, d);
            if group.iter().all(|block| self.strategies[block as usize].sends_before()) {
                self.turns(k, group, |strategy, turn| strategy.send(turn, net))?;
                self.agents.swap_and_directions(k, group, net, oracle)?;
                self.average(group);
            } else {
                self.agents.directions(k, group, net, oracle);
                self.average(group);
                self.prelude(k, group, net)?;
                self.turns(k, group, |strategy, turn| strategy.send(turn, net))?;
                net.swap(k)?;
            }
            self.turns(k, group, |strategy, turn| strategy.receive(turn, net))?;
        }
        net.close(k)
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        self.agents.state(of, archive);
        if let Holder::Worker(agent) = of {
            let place = agent - self.agents.hosted.start;
            archive.vector(&mut self.r[place]);
            self.strategies.iter_mut().for_each(|strategy| strategy.state(place, archive));
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

    fn rounds(&self) -> Vec<(u64, Blocks)> {
        let of = |block: Block| (self.strategies[block as usize].vectors(), Blocks::of(&[block]));
        Block::ALL.map(of).to_vec()
    }
}
