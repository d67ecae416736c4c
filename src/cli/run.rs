//! `sobaya run`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ConfigArguments;
use crate::comm::Comm;
use crate::comm::launched_first;
use crate::comm::mpi::{Exit, MpiComm, WrongLauncher, session};
use crate::config::{ConfigError, KeyError, Plan};
use crate::data::Folder;
use crate::error::Error;
use crate::run::{Options, Resume, agreed, run, signals};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Output folder [default: runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to do with a run that the output folder holds: resume it if it is of this config, begin where there
    /// is none (auto); leave it alone (never); resume it or fail (must).
    #[arg(long, value_enum, default_value_t)]
    resume: ResumeArgument,
    /// Stop in time with a checkpoint and exit code 75.
    #[arg(long, value_name = "HH:MM:SS", value_parser = parse_time)]
    max_time: Option<Duration>,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum ResumeArgument {
    #[default]
    Auto,
    Never,
    Must,
}

impl From<ResumeArgument> for Resume {
    fn from(argument: ResumeArgument) -> Self {
        match argument {
            ResumeArgument::Auto => Self::Auto,
            ResumeArgument::Never => Self::Never,
            ResumeArgument::Must => Self::Must,
        }
    }
}

/// A time as HH:MM:SS, MM:SS or seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be HH:MM:SS, as 23:50:00, MM:SS or seconds, above 0".to_owned();
    let parts: Vec<&str> = text.split(':').collect();
    let numbers: Result<Vec<u32>, _> = parts.iter().map(|part| part.parse()).collect();
    let numbers = numbers.map_err(|_| wrong())?;
    let in_range = numbers.iter().skip(1).all(|&number| number < 60);
    let seconds = numbers.iter().fold(0, |sum, &number| 60 * sum + u64::from(number));
    match numbers.len() {
        1..=3 if in_range && seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

pub fn main(arguments: Arguments) -> ! {
    let start = Instant::now();
    if let Err(error) = signals::heed() {
        crate::system::say(&format!(
            "sobaya: note: signals end the run without a checkpoint: {error}"
        ));
    }
    session(|comm| {
        let root = comm.as_ref().map_or_else(|_| launched_first(), |comm| comm.is_root());
        match execute(&arguments, start, comm) {
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

fn execute(
    arguments: &Arguments,
    start: Instant,
    comm: Result<MpiComm, WrongLauncher>,
) -> Result<(), Error> {
    let mut comm = comm?;
    let plan = share_plan(arguments, &mut comm)?;
    if comm.is_root() {
        super::remark(&plan.notices);
    }
    let folder = Folder::find(arguments.config.data.clone());
    let output = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&plan.name));
    let options = Options {
        resume: arguments.resume.into(),
        max_time: arguments.max_time,
        now: Box::new(move || start.elapsed()),
        asked_to_stop: Box::new(signals::heard),
        ..Options::new(Some(output.clone()))
    };
    let outcome = run(&plan, &mut comm, &folder, &options)?;
    if comm.is_root() && outcome.is_none() {
        let folder = output.display();
        crate::system::say(&format!(
            "sobaya: note: the run in {folder} is complete already; nothing was done"
        ));
    }
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
