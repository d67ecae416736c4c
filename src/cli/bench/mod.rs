//! `sobaya bench`: one file per measurement.

mod step;

use crate::error::Error;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Iterations per second of one worker's step: directions and update, no communication.
    Step(step::Arguments),
}

pub fn main(command: Command) -> Result<(), Error> {
    match command {
        Command::Step(arguments) => step::main(arguments),
    }
}
