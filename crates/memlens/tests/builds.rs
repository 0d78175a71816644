//! The same versions in other builds: static and shared libpython, a distribution's own, with CPython's just-in-time compiler, and
//! virtual environments of each.
mod recording;

use recording::{FrameName, Python, Recorder, new_folder, other_builds, pythons, random_stacks};
use std::process::Command;

#[test]
fn stacks_of_every_build() {
    for build in other_builds() {
        random_stacks::compare(&build, 2_000);
    }
}

#[test]
fn stacks_of_compiled_code() {
    for python in pythons().into_iter().filter(|python| python.minor >= 14) {
        random_stacks::compare_compiled(&python, 4_000);
    }
}

/// The interpreter of a virtual environment, which is a link to the one that it was made from.
fn environment_of(python: &Python) -> Python {
    let folder = new_folder("environment");
    let mut command = Command::new(&python.path);
    let status = command.args(["-m", "venv", "--without-pip"]).arg(&folder).status().expect("venv");
    assert!(status.success(), "{}: {status}", python.name());
    Python { path: folder.join("bin/python"), ..python.clone() }
}

#[test]
fn a_virtual_environment_of_every_build() {
    for python in pythons().into_iter().chain(other_builds()) {
        let environment = environment_of(&python);
        let code = "import sys; print(sys.prefix); kept = bytes(2_000_000)";
        let recording = Recorder::new(&environment, "environment").arguments(&["-c", code]).succeed();
        let prefix = environment.path.parent().and_then(|folder| folder.parent()).expect("a folder");
        assert_eq!(recording.stdout().trim_end(), prefix.to_string_lossy(), "{}", python.name());
        let observed = recording.observed();
        let is_ours = |stack: &[FrameName]| stack.first().is_some_and(|frame| frame.file == "<string>");
        let ours = observed.python_sites().filter(|site| is_ours(&site.stack));
        let made: u64 = ours.map(|site| site.site.allocated_bytes).sum();
        assert!((2_000_033..2_100_000).contains(&made), "{}: {made} bytes", python.name());
    }
}
