//! `sobaya check`.

use std::fmt::Write;

use super::ConfigArguments;
use crate::comm::Placement;
use crate::config::{Plan, Precision};
use crate::data::Folder;
use crate::error::Error;
use crate::gradients;
use crate::log::bytes;
use crate::net::Links;
use crate::run::{build, memory};
use crate::scalar::Scalar;

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
    let dense_up = links.dense_upload(dims, &rounds) as f64;
    let dense_down = Links::<F>::dense_download(dims, &rounds) as f64;
    let most_hosted = placement.hosted(0).len().max(placement.hosted(ranks - 1).len());
    let memory = |rank: usize| memory::of_rank(&*problem, &links, costs, placement, rank);
    let largest = (0..ranks).map(memory).max().unwrap_or(0);
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
