//! The `memlens` command: `main` picks the command and turns what it returns into an exit status. A file for each command,
//! named after its verb.
mod capture_file;
mod export;
mod lines;
mod output;
mod source_files;
mod summary;
mod tree;

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// Exit status for bad input; clap uses the same for wrong arguments.
const BAD_INPUT: u8 = 2;

/// Where the memory of a Python program goes.
#[derive(Debug, Parser)]
#[command(name = "memlens", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who held the memory at the peak
    Summary(summary::Arguments),
    /// What each line allocated, freed, kept and held at the peak
    Lines(lines::Arguments),
    /// The call tree at the peak
    Tree(tree::Arguments),
    /// The profile in the format of another tool
    Export(export::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Lines(arguments) => lines::run(&arguments),
        Command::Tree(arguments) => tree::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
    };
    match result {
        Ok(status) => status,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memlens: {error}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// Whoever read our output has read enough (`| head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
