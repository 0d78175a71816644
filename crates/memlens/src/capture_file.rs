//! The capture that a command is given.
use memlens_analysis::Profile;
use memlens_capture::{Parts, open_parts};
use std::path::PathBuf;

/// The argument that all reading commands share.
#[derive(Debug, clap::Args)]
pub struct CaptureFile {
    /// File that `memlens run` wrote
    #[arg(value_name = "CAPTURE")]
    path: PathBuf,
}

impl CaptureFile {
    /// Reads it. What a truncated or damaged file lacks is said in one line on standard error.
    pub fn profile(&self, parts: Parts) -> Result<Profile, memlens_capture::Error> {
        let opened = open_parts(&self.path, parts)?;
        if let Some(damage) = &opened.damage {
            eprintln!("memlens: {}: {damage}", self.path.display());
        }
        Ok(Profile::new(opened.into_capture()))
    }
}
