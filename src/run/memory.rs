//! The memory of a rank, estimated before anything of that size is made.

use super::build;
use crate::comm::Placement;
use crate::config::Plan;
use crate::data::Folder;
use crate::error::Error;
use crate::net::{Costs, Links};
use crate::problems::{self, Problem};
use crate::scalar::Scalar;

/// Bytes that a rank holds while it runs: samples and buffers of the problem, iterates, what feedback
/// remembers, messages.
pub fn of_rank<F: Scalar>(
    problem: &dyn Problem<F>,
    links: &Links<F>,
    costs: Costs,
    placement: Placement,
    rank: usize,
) -> u64 {
    let hosted = placement.hosted(rank);
    if let Some(neighbours) = &links.neighbours {
        let agents = (hosted.len() as u64).saturating_mul(neighbours.agent_bytes(problem.dims()));
        return agents.saturating_add(problem.footprint(hosted) as u64);
    }
    let [per_worker, at_server] = links.numbers().map(|n| (n * F::BYTES) as u64);
    // Iterate, its copies, mean, direction, momentum; then outgoing and incoming messages.
    let vectors = 8 * (problem.dims().total() * F::BYTES) as u64 + at_server;
    let inbox = if rank == 0 { placement.workers as u64 } else { 0 };
    let per_worker = (hosted.len() as u64).saturating_mul(per_worker);
    let messages = (hosted.len() as u64 + inbox).saturating_mul(costs.largest_upload);
    [vectors, per_worker, messages, costs.largest_download]
        .into_iter()
        .fold(problem.footprint(hosted) as u64, u64::saturating_add)
}

/// The rank's part of the plan's problem, if all that the rank is to hold fits this machine: the
/// system's answer to one that does not is to kill some process.
pub fn problem_that_fits<F: Scalar>(
    plan: &Plan,
    folder: &Folder,
    placement: Placement,
    rank: usize,
) -> Result<Box<dyn Problem<F>>, Error> {
    let hosted = placement.hosted(rank);
    // Samples are as many as their files hold, which are not read twice. Without samples, sizes are
    // what the config says, and a part without workers is small.
    let is_small = !problems::registry().facts(&plan.problem).partitioned;
    let sizes = if is_small { 0..0 } else { hosted.clone() };
    let problem = build::problem::<F>(plan, folder, sizes)?;
    let links = build::links::<F>(plan, &*problem, 0..0)?;
    let rounds = build::algorithm::<F>(plan, &*problem, 0..0)?.rounds();
    let costs = links.costs(problem.dims(), &rounds);
    let need = of_rank(&*problem, &links, costs, placement, rank);
    match crate::system::memory_bytes() {
        Some(have) if need > have => Err(Error::Memory { rank, need, have }),
        _ if is_small => build::problem(plan, folder, hosted),
        _ => Ok(problem),
    }
}
