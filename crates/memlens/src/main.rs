//! The `memlens` command: it reads the command line and leaves the work to one module a command.
mod agent_library;
mod closing;
mod interpreter;
mod launch;
mod output_file;
mod run;
mod signal;
mod target;

use clap::{CommandFactory, Parser, Subcommand};
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
    let words = target::separate_program(std::env::args_os(), &Arguments::command());
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() || words_are_missing(&error) => error.exit(),
        Err(error) => return fail(first_line(&error)),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
    };
    result.unwrap_or_else(|error| fail(format!("{error:#}")))
}

/// Says what is wrong, without the error number that Rust adds to the operating system's words.
fn fail(message: String) -> ExitCode {
    let message = message.find(" (os error").map_or(message.as_str(), |end| &message[..end]);
    eprintln!("memlens: {message}");
    ExitCode::from(EXIT_BAD_INPUT)
}

/// `memlens` by itself: its help is the answer.
fn words_are_missing(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What is wrong with the command line, without the usage that clap adds.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let reason = line.strip_prefix("error: ").unwrap_or(line);
    format!("{} (try --help)", reason.trim_end_matches(':'))
}
