//! `sobaya run`.

use std::path::PathBuf;

use super::ConfigArguments;
use crate::comm::Comm;
use crate::comm::mpi::{Exit, MpiComm, WrongLauncher, launched_first, session};
use crate::config::{ConfigError, KeyError, Plan};
use crate::data::Folder;
use crate::error::Error;
use crate::run::{agreed, run};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Output folder [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn main(arguments: Arguments) -> ! {
    session(|comm| {
        let root = comm.as_ref().map_or_else(|_| launched_first(), |comm| comm.is_root());
        match execute(&arguments, comm) {
            Ok(()) => Exit { code: 0, agreed: true },
            Err(error) => {
                if root || !error.agreed() {
                    super::complain(&error);
                }
                Exit { code: error.code().into(), agreed: error.agreed() }
            }
        }
    })
}

fn execute(arguments: &Arguments, comm: Result<MpiComm, WrongLauncher>) -> Result<(), Error> {
    let mut comm = comm?;
    let plan = share_plan(arguments, &mut comm)?;
    if comm.is_root() {
        super::remark(&plan);
    }
    let folder = Folder::find(arguments.config.data.clone());
    let output = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&plan.name));
    run(&plan, &mut comm, &folder, Some(&output))?;
    Ok(())
}

/// The root reads and checks the config; the others get it resolved from the root, so that all ranks
/// hold the same plan whatever their file systems show them.
fn share_plan(arguments: &Arguments, comm: &mut MpiComm) -> Result<Plan, Error> {
    let read = || -> Result<Option<Plan>, Error> {
        match comm.is_root() {
            true => Ok(Some(Plan::new(arguments.config.read()?)?)),
            false => Ok(None),
        }
    };
    let plan = read();
    let plan = agreed(comm, plan)?;
    let mut json = plan.as_ref().map(|plan| plan.resolved.to_string().into_bytes());
    let json = json.get_or_insert_default();
    comm.broadcast(json)?;
    match plan {
        Some(plan) => Ok(plan),
        None => {
            let wrong = |e: serde_json::Error| KeyError::value("", e.to_string());
            let resolved = serde_json::from_slice(json).map_err(|e| ConfigError::from(wrong(e)))?;
            Ok(Plan::new(resolved)?)
        }
    }
}
