//! `sobaya log`.

use std::path::PathBuf;

use crate::error::Error;
use crate::log::{Recovered, differences, recover};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Build log.h5 from the journal of a run that was killed and will not be resumed.
    Recover {
        /// The run's output folder.
        folder: PathBuf,
    },
    /// Compare two logs but for times, ranks, starts and programs; prints nothing if they are the same.
    ///
    /// Prints a line for each difference. Exits with 0 if there is none and with 1 if there are some.
    Diff {
        /// A log.h5, or the folder of one.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
    },
}

pub fn main(command: Command) -> Result<(), Error> {
    match command {
        Command::Recover { folder } => {
            let folder_name = folder.display();
            let said = match recover(&folder)? {
                Recovered::Whole(status) => {
                    format!("{folder_name}: the log is whole, of a {status} run: left as it is\n")
                }
                Recovered::Built { rows, evaluations, torn } => {
                    let torn = match torn {
                        0 => String::new(),
                        _ => format!("; {torn} bytes at the journal's end are damaged"),
                    };
                    format!("{folder_name}: {rows} rows, {evaluations} evaluations{torn}\n")
                }
            };
            super::print(&said)
        }
        Command::Diff { a, b } => {
            let found = differences(&a, &b)?;
            found.iter().try_for_each(|difference| super::print(&format!("{difference}\n")))?;
            if found.is_empty() { Ok(()) } else { Err(Error::Different) }
        }
    }
}
