//! `memlens summary`: who held the memory at the peak.
use crate::capture_file::CaptureFile;
use crate::output::{terminal_options, write_out};
use crate::source_files::SourceFiles;
use memlens_analysis::{Profile, Summary};
use memlens_capture::Parts;
use memlens_report::{json, terminal};
use std::process::ExitCode;

/// What `memlens summary` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    capture: CaptureFile,
    /// Rows of each table
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    rows: usize,
    /// Every row
    #[arg(long, conflicts_with = "rows")]
    all: bool,
    /// Write JSON (memlens.summary/1), with all rows
    #[arg(long)]
    json: bool,
}

/// Reads the capture and writes its summary to standard output.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut profile = arguments.capture.profile(Parts::WithoutSlices)?;
    if profile.meta().shortage.is_some() {
        // The report of it tells what had grown: the slices say that.
        profile = arguments.capture.profile(Parts::All)?;
    }
    let summary = Summary::new(&profile);
    if arguments.json {
        write_out(|out| json::write_summary(&profile, &summary, out))?;
    } else {
        print(&profile, &summary, (!arguments.all).then_some(arguments.rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(profile: &Profile, summary: &Summary, rows: Option<usize>) -> std::io::Result<()> {
    let options = terminal::Options { rows, ..terminal_options() };
    let sources = SourceFiles::default();
    write_out(|out| terminal::write_summary(profile, summary, &sources, &options, out))
}
