//! `memlens lines`: what each line did.
use crate::capture_file::CaptureFile;
use crate::output::{terminal_options, write_out};
use crate::source_files::SourceFiles;
use memlens_analysis::{LineQuery, Lines, Pattern, Profile, Scope};
use memlens_capture::Parts;
use memlens_report::{json, terminal};
use std::process::ExitCode;

/// What `memlens lines` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    capture: CaptureFile,
    /// Only files whose path contains F, or matches it as a glob (* and ?); of libraries too
    #[arg(long, value_name = "F")]
    file: Option<String>,
    /// Only functions whose name contains F, or matches it as a glob (* and ?); of libraries too
    #[arg(long, value_name = "F")]
    function: Option<String>,
    /// Files of the standard library and of installed packages too
    #[arg(long)]
    all: bool,
    /// Write JSON (memlens.lines/1)
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn query(&self) -> LineQuery {
        LineQuery {
            scope: if self.all { Scope::All } else { Scope::Own },
            file: self.file.as_deref().map(Pattern::new),
            function: self.function.as_deref().map(Pattern::new),
        }
    }
}

/// Reads the capture and writes the lines to standard output.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let profile = arguments.capture.profile(Parts::WithoutSlices)?;
    let query = arguments.query();
    let lines = Lines::new(&profile, &query);
    if lines.files.is_empty() {
        check_patterns(&profile, &query)?;
    }
    let sources = SourceFiles::default();
    write_out(|out| {
        if arguments.json {
            json::write_lines(&profile, &lines, &sources, out)
        } else {
            terminal::write_lines(&profile, &lines, &sources, &terminal_options(), out)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says which pattern is to blame for an empty table.
fn check_patterns(profile: &Profile, query: &LineQuery) -> anyhow::Result<()> {
    let in_file = |pattern: &Pattern| profile.files().iter().any(|file| pattern.matches(&file.path));
    let in_function = |pattern: &Pattern| profile.functions().iter().any(|function| pattern.matches(&function.name));
    match (&query.file, &query.function) {
        (Some(file), _) if !in_file(file) => {
            anyhow::bail!("no file in the capture matches '{}'", file.as_str())
        }
        (_, Some(function)) if !in_function(function) => {
            anyhow::bail!("no function in the capture matches '{}'", function.as_str())
        }
        (Some(file), Some(function)) => anyhow::bail!(
            "no function that matches '{}' is in a file that matches '{}'",
            function.as_str(),
            file.as_str()
        ),
        (Some(pattern), None) | (None, Some(pattern)) => {
            anyhow::bail!("what '{}' matches neither allocated nor freed anything", pattern.as_str())
        }
        (None, None) => Ok(()),
    }
}
