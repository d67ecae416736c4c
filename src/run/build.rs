//! What a plan comes to: the problem, and how its vectors travel.

use std::ops::Range;

use serde_json::Value;

use crate::algorithms::{self, Algorithm, AlgorithmContext};
use crate::compressors::{self, Coder, Compressor, OnSupport, Site};
use crate::config::{DownlinkPlan, GraphPlan, KeyError, Plan};
use crate::data::Folder;
use crate::error::Error;
use crate::feedback::{self, FeedbackContext};
use crate::net::{Coding, Downlink, Importance, Links, Mixed, Neighbours, Uplink};
use crate::problems::{self, Problem, ProblemContext};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims, Layout, Vars};

/// The rank's part of the plan's problem.
pub fn problem<F: Scalar>(
    plan: &Plan,
    folder: &Folder,
    hosted: Range<usize>,
) -> Result<Box<dyn Problem<F>>, Error> {
    let context = ProblemContext {
        seed: plan.seed,
        workers: plan.workers,
        hosted,
        partition: plan.partition.as_ref(),
        folder,
    };
    Ok(problems::registry().build::<F>(&plan.problem, context)?)
}

/// The rank's part of the plan's algorithm.
pub fn algorithm<F: Scalar>(
    plan: &Plan,
    problem: &dyn Problem<F>,
    hosted: Range<usize>,
) -> Result<Box<dyn Algorithm<F>>, Error> {
    // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
    let start = match hosted.is_empty() {
        true => Vars::zeros(Dims { upper: 0, lower: 0 }),
        false => problem.start(),
    };
    algorithm_at(plan, start, hosted)
}

/// The plan's algorithm at a start, for these workers.
pub fn algorithm_at<F: Scalar>(
    plan: &Plan,
    start: Vars<F>,
    hosted: Range<usize>,
) -> Result<Box<dyn Algorithm<F>>, Error> {
    let facts = problems::registry().facts(&plan.problem);
    let graphs = plan.graph.as_ref().map(|graph| &graph.graphs);
    let context = AlgorithmContext { start, hosted, problem: facts, graphs };
    let built = algorithms::registry().build(&plan.algorithm, context);
    Ok(built.map_err(|e| e.below("algorithm"))?)
}

/// How the vectors of a problem travel.
pub fn links<F: Scalar>(
    plan: &Plan,
    problem: &dyn Problem<F>,
    hosted: Range<usize>,
) -> Result<Links<F>, Error> {
    let travel = &plan.travel;
    let layout = problem.layout();
    let support = problem.upper_support();
    let fed = [support.is_none(), true, true];
    let on_support = |support| -> Coder<F> {
        Coder::Packet(Box::new(OnSupport::new(problem.dims().upper, support)))
    };
    let coders = [
        support.map_or_else(|| coder(plan, &layout, Block::X), |s| Ok(on_support(s)))?,
        coder(plan, &layout, Block::Y)?,
        coder(plan, &layout, Block::Z)?,
    ];
    let bounds = coders.each_ref().map(Coder::bound);
    let facts = feedback::registry().facts(&travel.feedback);
    let Dims { upper, lower } = problem.dims();
    let dims = Dims { upper: if fed[0] { upper } else { 0 }, lower };
    let context = FeedbackContext { dims, hosted, bounds };
    let feedback = feedback::registry().build::<F>(&travel.feedback, context)?;
    let mut by_block = travel.every.into_iter().zip(fed);
    let up = coders.map(|coder| {
        let (every, fed) = by_block.next().unwrap_or((1, true));
        let gain = if fed { facts.gain(coder.bound()) } else { 1.0 };
        Uplink { coder, gain, every, fed }
    });
    let down = match &travel.downlink {
        DownlinkPlan::Dense => Downlink::Dense,
        DownlinkPlan::Sum => Downlink::Sum,
        DownlinkPlan::Difference(all) => Downlink::Difference([
            down_compressor(plan, &layout, all, Block::X)?,
            down_compressor(plan, &layout, all, Block::Y)?,
            down_compressor(plan, &layout, all, Block::Z)?,
        ]),
    };
    let neighbours =
        plan.graph.as_ref().map(|graph| neighbours(plan, graph, &layout)).transpose()?;
    Ok(Links { up, feedback, down, collective: travel.wire.collective, neighbours })
}

/// How vectors travel on the graphs of a run without a server.
fn neighbours<F: Scalar>(
    plan: &Plan,
    graph: &GraphPlan,
    layout: &[Layout; 2],
) -> Result<Neighbours<F>, KeyError> {
    let mixed = |block: Block| -> Result<Mixed<F>, KeyError> {
        let at = block as usize;
        let coding = |[eta, eta_dual]: [f64; 2]| -> Result<Coding<F>, KeyError> {
            let config = &graph.compressors[at];
            let built = compressors::registry().build::<F>(config, site(plan, layout, block));
            let key = format!("compressor.{}", block.name());
            let compressor = built.map_err(|e| e.below(&key))?;
            fits(compressor.max_packet(), &key)?;
            let rate = compressor.bound().contraction();
            Ok(Coding { compressor, rate, eta, eta_dual })
        };
        let coding = graph.rates[at].map(coding).transpose()?;
        Ok(Mixed { graph: graph.graphs[at].clone(), coding })
    };
    let variables = [mixed(Block::X)?, mixed(Block::Y)?, mixed(Block::Z)?];
    let importance = Importance(graph.importance());
    Ok(Neighbours { variables, importance, scaled: graph.scaled() })
}

fn site<'a>(plan: &Plan, layout: &'a [Layout; 2], block: Block) -> Site<'a> {
    let layout = &layout[usize::from(block != Block::X)];
    Site { layout, link_gbit: plan.travel.wire.link_gbit.get() }
}

fn coder<F: Scalar>(plan: &Plan, layout: &[Layout; 2], block: Block) -> Result<Coder<F>, KeyError> {
    let config = &plan.travel.compressors[block as usize];
    let coder = compressors::coders().build::<F>(config, site(plan, layout, block));
    let key = format!("compressor.{}", block.name());
    let coder = coder.map_err(|e| e.below(&key))?;
    fits(coder.max_packets(), &key)?;
    Ok(*coder)
}

/// A compressor of the way down with the factor that makes it contract.
fn down_compressor<F: Scalar>(
    plan: &Plan,
    layout: &[Layout; 2],
    all: &[Value; 3],
    block: Block,
) -> Result<(Box<dyn Compressor<F>>, f64), KeyError> {
    let config = &all[block as usize];
    let built = compressors::registry().build::<F>(config, site(plan, layout, block));
    let key = format!("downlink.compressor.{}", block.name());
    let compressor = built.map_err(|e| e.below(&key))?;
    fits(compressor.max_packet(), &key)?;
    let gain = compressor.bound().contraction();
    Ok((compressor, gain))
}

/// A packet counts its bytes in 32 bits.
fn fits(bytes: usize, key: &str) -> Result<(), KeyError> {
    match u32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => {
            let problem = format!("a packet has {bytes} bytes, at most 4 GiB fit");
            Err(KeyError::value(key, problem))
        }
    }
}
