//! `sobaya bench`: one file per measurement.

mod compress;
mod step;
mod wire;

use crate::error::Error;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Speed, bytes and error of compressors.
    Compress(compress::Arguments),
    /// Iterations per second of one worker's step: directions and update, no communication.
    Step(step::Arguments),
    /// Time of the collectives over MPI against the length of the message; under mpirun.
    Wire(wire::Arguments),
}

pub fn main(command: Command) -> Result<(), Error> {
    match command {
        Command::Compress(arguments) => compress::main(arguments),
        Command::Step(arguments) => step::main(arguments),
        Command::Wire(arguments) => wire::main(&arguments),
    }
}
