//! The `memlens` command: `main` picks the command and turns what it returns into an exit status. A file for each command,
//! named after its verb.
mod agent_library;
mod capture_file;
mod closing;
mod export;
mod heap;
mod heap_request;
mod interpreter;
mod interruption;
mod launch;
mod limit;
mod lines;
mod output;
mod output_file;
mod own_heap;
mod run;
mod signal;
mod source_files;
mod summary;
mod target;
mod tree;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// Where the memory of a Python program goes.
#[derive(Parser)]
#[command(name = "memlens", version, disable_help_subcommand = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    /// Who held the memory at the peak
    Summary(summary::Arguments),
    /// What each line allocated, freed, kept and held at the peak
    Lines(lines::Arguments),
    /// The call tree at the peak
    Tree(tree::Arguments),
    /// The profile in the format of another tool
    Export(export::Arguments),
    /// What objects there are, how large, and who keeps them alive
    Heap(heap::Arguments),
}

/// The exit status for input that is at fault, as opposed to the recorded program's own.
const EXIT_BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    own_heap::set_up();
    let mut command = Arguments::command();
    let words = target::separate_program(std::env::args_os(), &command);
    let matches = command.try_get_matches_from_mut(words);
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() || words_are_missing(&error) => error.exit(),
        Err(error) => return fail(first_line(&error)),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Lines(arguments) => lines::run(&arguments),
        Command::Tree(arguments) => tree::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Heap(arguments) => heap::run(&arguments),
    };
    match result {
        Ok(status) => status,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(chain(&error)),
    }
}

fn without_number(message: &str) -> &str {
    message.find(" (os error").map_or(message, |end| &message[..end])
}

/// The error and its causes, but for a cause that the error has named already.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        _ if text.contains(without_number(&cause)) => text,
        _ => format!("{text}: {cause}"),
    })
}

/// Says what is wrong, without the error number that Rust adds to the operating system's words.
fn fail(message: String) -> ExitCode {
    eprintln!("memlens: {}", without_number(&message));
    ExitCode::from(EXIT_BAD_INPUT)
}

/// Whoever read our output has read enough (`| head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
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
