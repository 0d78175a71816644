//! The `memlens` command: it reads the command line and leaves the work to one module a command.
mod agent_library;
mod closing;
mod interpreter;
mod launch;
mod output_file;
mod run;
mod signal;
mod target;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Where the memory of a Python program goes.
#[derive(Parser)]
#[command(name = "memlens", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
}

/// The exit status for input that is at fault, as opposed to the recorded program's own.
const EXIT_BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("memlens: {error:#}");
        ExitCode::from(EXIT_BAD_INPUT)
    })
}
