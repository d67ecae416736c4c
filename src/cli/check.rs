//! `sobaya check`.

use std::fmt::Write;

use super::ConfigArguments;
use crate::comm::Placement;
use crate::config::{Plan, Precision};
use crate::data::Folder;
use crate::error::Error;
use crate::gradients;
use crate::log::bytes;
use crate::net::{Links, Neighbours, Rounds};
use crate::run::{build, memory};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Number of ranks to plan for.
    #[arg(long, default_value = "1", value_parser = super::parse_count)]
    ranks: usize,
    /// Compare the problem's derivatives with finite differences.
    #[arg(long)]
    gradients: bool,
}

pub fn main(arguments: Arguments) -> Result<(), Error> {
    crate::system::use_one_blas_thread();
    let plan = Plan::new(arguments.config.read()?)?;
    let folder = Folder::find(arguments.config.data.clone());
    if arguments.ranks > plan.workers {
        return Err(Error::TooManyRanks { ranks: arguments.ranks, workers: plan.workers });
    }
    let costs = match plan.precision {
        Precision::F32 => costs::<f32>(&plan, &folder, arguments.ranks)?,
        Precision::F64 => costs::<f64>(&plan, &folder, arguments.ranks)?,
    };
    super::print(&format!("{:#}\n{costs}", plan.resolved))?;
    super::remark(&plan);
    if arguments.gradients {
        check_gradients(&plan, &folder)?;
    }
    Ok(())
}

/// Memory and bytes of a run.
fn costs<F: Scalar>(plan: &Plan, folder: &Folder, ranks: usize) -> Result<String, Error> {
    // Data files are read and checked; no sample is kept.
    let problem = build::problem::<F>(plan, folder, 0..0)?;
    let dims = problem.dims();
    let links = build::links::<F>(plan, &*problem, 0..0)?;
    let rounds = build::algorithm::<F>(plan, &*problem, 0..0)?.rounds();
    let placement = Placement { workers: plan.workers, ranks };
    let costs = links.costs(dims, &rounds);
    let memory = |rank: usize| memory::of_rank(&*problem, &links, costs, placement, rank);
    let largest = (0..ranks).map(memory).max().unwrap_or(0);
    if let Some(neighbours) = &links.neighbours {
        let most_hosted = placement.hosted(0).len() as u64;
        let text = graph_costs(plan, dims, neighbours, &rounds, most_hosted);
        return Ok(format!("{text}memory of the largest of {ranks} ranks   {}\n", bytes(largest)));
    }
    let dense_up = links.dense_upload(dims, &rounds) as f64;
    let dense_down = Links::<F>::dense_download(dims, &rounds) as f64;
    let most_hosted = placement.hosted(0).len().max(placement.hosted(ranks - 1).len());
    let of_run = |bytes: f64| bytes * (plan.workers as f64) * (plan.iterations as f64);

    let mut out = String::new();
    let _ = writeln!(
        out,
        "p = {}, q = {}, {} {} numbers",
        dims.upper,
        dims.lower,
        dims.total(),
        F::NAME
    );
    let _ = writeln!(out, "memory of the largest of {ranks} ranks   {}", bytes(largest));
    let _ = writeln!(
        out,
        "upload a worker and iteration    <=  {} ({:.2} times less than uncompressed)",
        bytes(costs.upload as u64),
        dense_up / costs.upload
    );
    let _ = writeln!(
        out,
        "upload of the run, all workers   <=  {}",
        bytes(of_run(costs.upload) as u64)
    );
    let _ = writeln!(
        out,
        "download a worker and iteration  <=  {} ({:.2} times less than uncompressed)",
        bytes(costs.download as u64),
        dense_down / costs.download
    );
    let _ = writeln!(
        out,
        "largest message                      {}",
        bytes(costs.largest_download.max(costs.largest_upload.saturating_mul(most_hosted as u64)))
    );
    Ok(out)
}

/// Bytes of a run without a server, of whose agents a rank hosts so many at most.
fn graph_costs<F: Scalar>(
    plan: &Plan,
    dims: Dims,
    neighbours: &Neighbours<F>,
    rounds: &Rounds,
    most_hosted: u64,
) -> String {
    let link_bytes = neighbours.link_bytes(dims, rounds);
    let of_link: u64 = link_bytes.iter().sum();
    let mut out = String::new();
    let Dims { upper, lower } = dims;
    let _ = writeln!(out, "p = {upper}, q = {lower}, {} {} numbers", dims.total(), F::NAME);
    let mut sent = 0;
    for ((block, mixed), bytes_of_link) in
        Block::ALL.into_iter().zip(&neighbours.variables).zip(link_bytes)
    {
        let graph = &mixed.graph;
        sent += graph.heard() as u64 * bytes_of_link;
        let _ = writeln!(
            out,
            "{}: spectral gap {:.4}, at most {} neighbours, {} links, <= {} a link and iteration",
            block.name(),
            graph.spectral_gap(),
            graph.degree(),
            graph.links().len(),
            bytes(bytes_of_link)
        );
    }
    let rows = [
        ("all links in an iteration        <= ", sent),
        ("all links in the run             <= ", sent * plan.iterations),
        ("largest message                  <= ", most_hosted * of_link),
    ];
    for (what, value) in rows {
        let _ = writeln!(out, "{what} {}", bytes(value));
    }
    out
}

fn check_gradients(plan: &Plan, folder: &Folder) -> Result<(), Error> {
    let mut problem = build::problem::<f64>(plan, folder, 0..1)?;
    let findings = gradients::check(&mut *problem, plan.seed, 0);
    let mut out = String::from("derivatives against central differences (f64, relative)\n");
    for finding in &findings {
        let verdict = match finding.off {
            off if off.is_nan() => "not reported",
            off if off.is_infinite() => "NOT A NUMBER",
            _ if finding.is_wrong() => "DIFFERS",
            _ => "agrees",
        };
        let _ = writeln!(out, "  {:<28}{:<10.1e}{verdict}", finding.what, finding.off);
    }
    super::print(&out)?;
    let wrong: Vec<&str> = findings.iter().filter(|f| f.is_wrong()).map(|f| f.what).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::Gradients { wrong: wrong.join("; "), tolerance: gradients::TOLERANCE }),
    }
}
