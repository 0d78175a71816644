//! `memlens export`: the profile in the format of another tool.
use crate::capture_file::CaptureFile;
use crate::output::write_out;
use clap::ValueEnum;
use memlens_analysis::{Measure, Profile, Summary};
use memlens_capture::Parts;
use memlens_report::{collapsed, json, speedscope};
use std::io::{self, Write};
use std::process::ExitCode;

/// What `memlens export` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    capture: CaptureFile,
    /// Format
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// Which bytes, for a format that holds one figure for each stack
    #[arg(long, value_name = "WHICH", default_value = "peak")]
    by: By,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Everything, as memlens.profile/1
    Json,
    /// One line for each stack, for flamegraph.pl and its kin
    Collapsed,
    /// For speedscope.app
    Speedscope,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Live at the peak
    Peak,
    /// Allocated over the whole recording
    Allocated,
    /// Live at the end
    End,
}

impl From<By> for Measure {
    fn from(by: By) -> Self {
        match by {
            By::Peak => Self::Peak,
            By::Allocated => Self::Allocated,
            By::End => Self::End,
        }
    }
}

/// Reads the capture and writes it to standard output in the format asked for.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let parts = match arguments.to {
        Format::Json => Parts::All,
        Format::Collapsed | Format::Speedscope => Parts::WithoutSlices,
    };
    let profile = arguments.capture.profile(parts)?;
    write_out(|out| write(&profile, arguments, out))?;
    Ok(ExitCode::SUCCESS)
}

fn write(profile: &Profile, arguments: &Arguments, out: &mut dyn Write) -> io::Result<()> {
    match arguments.to {
        Format::Json => json::write_profile(profile, &Summary::new(profile), out),
        Format::Speedscope => speedscope::write(profile, &speedscope::Options, out),
        Format::Collapsed => {
            let options = collapsed::Options { measure: arguments.by.into() };
            collapsed::write(profile, &options, out)
        }
    }
}
