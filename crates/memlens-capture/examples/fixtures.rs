//! Writes the captures of `tests/captures/v1/`: `cargo run -p memlens-capture --example fixtures -- FOLDER`.
//!
//! They are checked in and must stay readable for ever, so this is not run again once the format version has been
//! released: a new version gets a folder of its own.
#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::fs::File;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: fixtures FOLDER")?);
    memlens_capture::write_to(&mut File::create(folder.join("job.mlens"))?, &fixture::job())?;
    memlens_capture::write_to(&mut File::create(folder.join("processes.mlens"))?, &fixture::processes())?;
    Ok(())
}
