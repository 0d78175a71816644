//! What `run` says at the end: what it saw, what it did not, and where the capture lies. On standard error only.
use crate::output::error_options;
use crate::source_files::SourceFiles;
use memlens_analysis::{Profile, Summary};
use memlens_format::capture::{Capture, Meta};
use memlens_report::terminal::{self, Options};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Rows of each table: `memlens summary` shows more.
const ROWS: usize = 5;

/// Prints the summary, what was not seen, and where the capture lies. The capture is taken apart: a copy of it would cost as much as many a
/// program's recording.
pub fn print(capture: Capture, destination: &Path, file_bytes: u64) -> io::Result<()> {
    // Standard error has no buffer of its own: without this one each column's padding is a system call.
    let mut out = BufWriter::with_capacity(1 << 14, io::stderr().lock());
    let profile = Profile::new(capture);
    let options = Options { rows: Some(ROWS), ..error_options() };
    terminal::write_summary(&profile, &Summary::new(&profile), &SourceFiles::default(), &options, &mut out)?;
    write_account(profile.meta(), destination, file_bytes, &mut out)?;
    out.flush()
}

/// Prints what was not seen, the cost and the place: the summary says what was.
fn write_account(meta: &Meta, destination: &Path, file_bytes: u64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "memlens: {}", unseen_text(meta))?;
    if meta.overhead_ns > 0 {
        writeln!(out, "memlens: recording took about {:.2} s of that", seconds(meta.overhead_ns))?;
    }
    if !meta.complete {
        writeln!(out, "memlens: the capture is not complete: {}", meta.incomplete_reason)?;
    }
    writeln!(out, "memlens: wrote {} ({})", destination.display(), bytes_text(file_bytes))
}

fn unseen_text(meta: &Meta) -> String {
    let unseen = &meta.unseen;
    format!(
        "{} events lost ({}), {} stacks unreadable, {} releases of older blocks, {} processes unrecorded",
        unseen.lost_events,
        bytes_text(unseen.lost_bytes),
        unseen.unreadable_stacks,
        unseen.unknown_releases,
        unseen.unrecorded_processes
    )
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// A size with three digits and a unit: "17 B", "1.50 KiB", "231 MiB".
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let texts = [0, 1023, 1024, 10_240, 1_047_552, 123_456_789].map(bytes_text);
        assert_eq!(texts, ["0 B", "1023 B", "1.00 KiB", "10.0 KiB", "1.00 MiB", "118 MiB"]);
    }
}
