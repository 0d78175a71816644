//! The capture that a command is given.
use anyhow::bail;
use memlens_analysis::{ProcessPattern, Profile};
use memlens_capture::{Parts, open_parts};
use std::path::PathBuf;

/// The argument that all reading commands share.
#[derive(Debug, clap::Args)]
pub struct CaptureFile {
    /// File that `memlens run` wrote
    #[arg(value_name = "CAPTURE")]
    path: PathBuf,
    /// Only these processes: ids, or parts of their commands (or globs, with * and ?), separated by commas
    #[arg(long, value_name = "P,...", value_delimiter = ',', allow_hyphen_values = true)]
    processes: Vec<String>,
}

impl CaptureFile {
    /// Reads it. What a truncated or damaged file lacks is said in one line on standard error.
    pub fn profile(&self, parts: Parts) -> anyhow::Result<Profile> {
        // When some processes held most is told by the slices alone.
        let parts = if self.processes.is_empty() { parts } else { Parts::All };
        let opened = open_parts(&self.path, parts)?;
        if let Some(damage) = &opened.damage {
            eprintln!("memlens: {}: {damage}", self.path.display());
        }
        let capture = opened.into_capture();
        let patterns: Vec<ProcessPattern> = self.processes.iter().map(|text| ProcessPattern::new(text)).collect();
        for pattern in &patterns {
            if !capture.processes.iter().any(|process| pattern.matches(process)) {
                bail!("no process in the capture matches '{}'", pattern.as_str());
            }
        }
        let is_picked = |process: &_| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(process));
        Ok(Profile::of_processes(capture, is_picked))
    }
}
