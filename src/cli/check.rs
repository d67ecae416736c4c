//! `sobaya check`.

use std::fmt::Write;

use super::ConfigArguments;
use crate::comm::Placement;
use crate::comm::mpi::PIECE;
use crate::config::{Plan, Precision};
use crate::data::Folder;
use crate::error::Error;
use crate::gradients;
use crate::log::{self, bytes};
use crate::net::{Links, Neighbours, Rounds};
use crate::run::build;
use crate::run::memory::{Forecast, Memory};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims};

/// A log of more bytes than this is remarked upon.
const LONG_LOG: u64 = 2_000_000_000;

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
    let told = match plan.precision {
        Precision::F32 => foretell::<f32>(&plan, &folder, arguments.ranks)?,
        Precision::F64 => foretell::<f64>(&plan, &folder, arguments.ranks)?,
    };
    super::print(&format!("{:#}\n{}", plan.resolved, told.text))?;
    super::remark(plan.notices.iter().chain(&told.notices));
    if arguments.gradients {
        check_gradients(&plan, &folder)?;
    }
    Ok(())
}

/// What a run takes, in words.
struct Told {
    text: String,
    /// Remarks for the user.
    notices: Vec<String>,
}

/// Memory, traffic and files of a run.
fn foretell<F: Scalar>(plan: &Plan, folder: &Folder, ranks: usize) -> Result<Told, Error> {
    // Data files are read and checked; no sample is kept.
    let problem = build::problem::<F>(plan, folder, 0..0)?;
    let forecast = Forecast::new(plan, &*problem)?;
    let placement = Placement { workers: plan.workers, ranks };
    let log = log::Size::of(plan, ranks)?;
    let dims = problem.dims();
    let Dims { upper, lower } = dims;
    let mut text = format!("p = {upper}, q = {lower}, {} {} numbers\n", dims.total(), F::NAME);
    let most_hosted = placement.hosted(0).len() as u64;
    let (traffic, message) = match &forecast.links.neighbours {
        Some(neighbours) => graph_traffic(plan, dims, neighbours, &forecast.rounds, most_hosted),
        None => traffic(plan, dims, &forecast, most_hosted),
    };
    let ranks = (0..ranks).map(|rank| forecast.of_rank(placement, rank, Some(log)));
    let ranks: Vec<Memory> = ranks.collect();
    text += &memory(&ranks);
    text += &traffic;
    let set = forecast.state.of_set(plan.workers);
    let rows = [
        ("a checkpoint, of which two are kept  ", set),
        ("log at the end, with its journal     ", log.total()),
    ];
    for (what, value) in rows {
        let _ = writeln!(text, "{what}{}", bytes(value));
    }
    Ok(Told { text, notices: notices(plan, &ranks, message, log) })
}

/// The rank that holds most, and what.
fn memory(ranks: &[Memory]) -> String {
    let largest = ranks.iter().copied().max_by_key(Memory::total).unwrap_or_default();
    let passing = [
        ("an evaluation", largest.evaluation),
        ("a checkpoint", largest.checkpoint),
        ("the log that is built", largest.log),
    ];
    let (what, most) = passing.into_iter().max_by_key(|&(_, most)| most).unwrap_or_default();
    let count = ranks.len();
    let mut text = format!("memory of the largest of {count} ranks   {}\n", bytes(largest.total()));
    let rows = [
        ("samples and mini-batches", largest.samples),
        ("iterates and memories", largest.vectors),
        ("messages", largest.messages),
        ("program and libraries", largest.program),
        (&format!("for a time: {what}"), most),
    ];
    for (what, value) in rows {
        let _ = writeln!(text, "  {what:<35}{}", bytes(value));
    }
    text
}

/// What may be too much.
fn notices(plan: &Plan, ranks: &[Memory], message: u64, log: log::Size) -> Vec<String> {
    let mut notices = vec![];
    let all = ranks.iter().map(Memory::total).fold(0, u64::saturating_add);
    if let Some(have) = crate::system::memory_bytes()
        && all > have
    {
        notices.push(format!(
            "{} ranks hold {} together, and this machine has {}: spread them over more machines, or lower \
             `workers` or the sizes under `problem`",
            ranks.len(),
            bytes(all),
            bytes(have)
        ));
    }
    if message > PIECE as u64 {
        notices.push(format!(
            "the largest message has {}: it travels in pieces of {}; more ranks, or a stronger `compressor`, \
             make it shorter",
            bytes(message),
            bytes(PIECE as u64)
        ));
    }
    if log.total() > LONG_LOG {
        notices.push(format!(
            "the log grows to {}, and each time that it is built {} are held in memory: raise `log.every`, \
             now {}, or `evaluate.every`",
            bytes(log.total()),
            bytes(log.image.saturating_mul(3)),
            plan.log.every.get()
        ));
    }
    notices
}

/// Bytes of a run with a server, and its largest message, that of a rank with so many workers.
fn traffic<F: Scalar>(
    plan: &Plan,
    dims: Dims,
    forecast: &Forecast<'_, F>,
    most_hosted: u64,
) -> (String, u64) {
    let Forecast { links, rounds, costs, .. } = forecast;
    let dense_up = links.dense_upload(dims, rounds) as f64;
    let dense_down = Links::<F>::dense_download(dims, rounds) as f64;
    let of_run = |bytes: f64| bytes * (plan.workers as f64) * (plan.iterations as f64);
    let message = costs.largest_download.max(costs.largest_upload.saturating_mul(most_hosted));
    let text = format!(
        "upload a worker and iteration    <=  {} ({:.2} times less than uncompressed)\n\
         upload of the run, all workers   <=  {}\n\
         download a worker and iteration  <=  {} ({:.2} times less than uncompressed)\n\
         largest message                      {}\n",
        bytes(costs.upload as u64),
        dense_up / costs.upload,
        bytes(of_run(costs.upload) as u64),
        bytes(costs.download as u64),
        dense_down / costs.download,
        bytes(message)
    );
    (text, message)
}

/// The same of a run without a server, of whose agents a rank hosts so many at most.
fn graph_traffic<F: Scalar>(
    plan: &Plan,
    dims: Dims,
    neighbours: &Neighbours<F>,
    rounds: &Rounds,
    most_hosted: u64,
) -> (String, u64) {
    let link_bytes = neighbours.link_bytes(dims, rounds);
    let of_link: u64 = link_bytes.iter().sum();
    let mut out = String::new();
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
    let message = most_hosted.saturating_mul(of_link);
    let rows = [
        ("all links in an iteration        <= ", sent),
        ("all links in the run             <= ", sent.saturating_mul(plan.iterations)),
        ("largest message                  <= ", message),
    ];
    for (what, value) in rows {
        let _ = writeln!(out, "{what} {}", bytes(value));
    }
    (out, message)
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
