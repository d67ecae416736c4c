//! The command line: one file per subcommand.

mod bench;
mod check;
mod list;
mod log;
mod message;
mod run;
mod sweep;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::Value;

use crate::comm::launched_first;
use crate::config::{ConfigError, Count, apply_override, read_file};
use crate::error::Error;

/// For the message about a wrong command line to be written.
const WHILE_THE_FIRST_SPEAKS: Duration = Duration::from_millis(500);

/// Distributed bilevel optimization with compressed communication, over MPI.
#[derive(Parser)]
#[command(name = "sobaya", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a config; under mpirun or srun its workers are spread over the ranks.
    Run(run::Arguments),
    /// Run many configs that one file describes.
    Sweep(sweep::Arguments),
    /// Build a killed run's log again, or compare two logs.
    #[command(subcommand)]
    Log(log::Command),
    /// Check a config without MPI: every default, memory and bytes per rank and iteration.
    Check(check::Arguments),
    /// List algorithms, compressors, problems and data sets.
    List,
    /// Print the JSON Schema of configs, from which editors complete.
    Schema,
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// A config and what is changed in it.
#[derive(Args)]
struct ConfigArguments {
    /// The config, a JSON file.
    config: PathBuf,
    /// Set a key of the config; may be repeated.
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Folder of the data sets [default: $SOBAYA_DATA, else ./data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl ConfigArguments {
    fn read(&self) -> Result<Value, ConfigError> {
        let mut config = read_file(&self.config)?;
        self.overrides.iter().try_for_each(|given| apply_override(&mut config, given))?;
        Ok(config)
    }
}

/// A number of ranks or of runs.
fn parse_count(text: &str) -> Result<usize, String> {
    let number: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    Count::try_from(number).map(Count::get)
}

/// What this program is called: with problems of one's own it has a name of its own.
fn program_name() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "sobaya".into())
}

/// The program: parses the command line, runs the command and exits with its code.
pub fn main() -> ! {
    let version: &'static str = crate::system::long_version().leak();
    let matches = Cli::command().long_version(version).try_get_matches();
    let parsed =
        matches.and_then(|matches| <Cli as clap::FromArgMatches>::from_arg_matches(&matches));
    let command = match parsed {
        Ok(cli) => cli.command,
        Err(error) if launched_first() => error.exit(),
        Err(error) => {
            // The first rank says it for all; a launcher ends all when one of them has ended.
            std::thread::sleep(WHILE_THE_FIRST_SPEAKS);
            std::process::exit(error.exit_code())
        }
    };
    let result = match command {
        Command::Run(arguments) => run::main(arguments),
        Command::Sweep(arguments) => sweep::main(arguments),
        Command::Log(command) => log::main(command),
        Command::Check(arguments) => check::main(arguments),
        Command::List => print(&list::text()),
        Command::Schema => print(&format!("{:#}\n", crate::config::schema())),
        Command::Bench(command) => bench::main(command),
        Command::Completions { shell } => {
            let mut out = vec![];
            clap_complete::generate(shell, &mut Cli::command(), program_name(), &mut out);
            print(&String::from_utf8_lossy(&out))
        }
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            error.code()
        }
    };
    std::process::exit(code.into())
}

/// The one message of a failure. Where stderr cannot be written to, the exit code must do.
fn complain(error: &Error) {
    crate::system::say(&message::one_line(&format!("sobaya: {error}")));
}

/// Remarks for the user.
fn remark<'n>(notices: impl IntoIterator<Item = &'n String>) {
    for notice in notices {
        crate::system::say(&message::one_line(&format!("sobaya: note: {notice}")));
    }
}

/// Prints to stdout; a reader that has gone away, as in `sobaya list | head -1`, is no error.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Stdout(e)),
        _ => Ok(()),
    }
}
