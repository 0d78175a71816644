//! `memlens tree`: the call tree at the peak.
use crate::capture_file::CaptureFile;
use crate::output::{terminal_options, write_out};
use memlens_analysis::CallTree;
use memlens_capture::Parts;
use memlens_report::{json, terminal};
use std::process::ExitCode;

/// What `memlens tree` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    capture: CaptureFile,
    /// Every branch, however small, and every call
    #[arg(long)]
    all: bool,
    /// Write JSON (memlens.tree/1), with all branches
    #[arg(long)]
    json: bool,
}

/// Reads the capture and writes its call tree to standard output.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let profile = arguments.capture.profile(Parts::WithoutSlices)?;
    let tree = CallTree::new(&profile);
    let mut options = terminal_options();
    if arguments.all {
        options.hidden_below_permille = 0;
    }
    write_out(|out| {
        if arguments.json {
            json::write_tree(&profile, &tree, out)
        } else {
            terminal::write_tree(&profile, &tree, &options, out)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
