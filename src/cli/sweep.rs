//! `sobaya sweep`.

use std::path::PathBuf;

use super::parse_count;
use crate::error::Error;
use crate::sweep::Sweep;

#[derive(clap::Args)]
pub struct Arguments {
    /// The sweep, a JSON file.
    sweep: PathBuf,
    #[arg(value_enum, default_value_t)]
    action: Action,
    /// Run so many members at a time on this machine [default: 1].
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with = "slurm")]
    local: Option<usize>,
    /// Have the members run by Slurm job arrays of at most 1000 tasks.
    #[arg(long, conflicts_with = "member")]
    slurm: bool,
    /// Run one member, by its place (from 0) or hash.
    #[arg(long, value_name = "PLACE|HASH", conflicts_with = "local")]
    member: Option<String>,
    /// Run those again, too, that diverged, or that another program or data folder finished.
    #[arg(long)]
    redo: bool,
    /// Folder of the sweep [default: sweeps/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of the data sets [default: $SOBAYA_DATA, else ./data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Action {
    /// Run every member that has not ended: it is not finished and has not diverged.
    #[default]
    Run,
    /// Print how far each member is.
    Status,
    /// Gather what is finished in collected.h5 and summary.csv.
    Collect,
}

pub fn main(arguments: Arguments) -> Result<(), Error> {
    let sweep = Sweep::open(&arguments.sweep, arguments.out, arguments.data, arguments.redo)?;
    match (arguments.action, arguments.member) {
        (Action::Status, _) => super::print(&sweep.status()?),
        (Action::Collect, _) => {
            let count = sweep.collect()?;
            super::print(&format!("{count} of {} members collected\n", sweep.len()))
        }
        (Action::Run, Some(member)) => Ok(sweep.run_member(&member)?),
        (Action::Run, None) if arguments.slurm => {
            let answer = sweep.submit()?;
            super::print(&format!("{}\n", answer.as_deref().unwrap_or("every member is finished")))
        }
        (Action::Run, None) => {
            let before = sweep.run(arguments.local.unwrap_or(1))?;
            let count = sweep.len();
            super::print(&format!("{count} members finished, {before} of them before\n"))
        }
    }
}
