//! Per-line live bytes of the Python domains equal tracemalloc's, to the byte, in the same run.
//!
//! A difference on a line that releases floats, tuples, lists or dicts which another line then makes is the free lists'
//! doing (see `tracemalloc_check.py`) and a fault of the program under `tests/programs/tracemalloc`, not of the recorder.
mod recording;

use recording::{Observed, Python, Recorder, pythons};
use std::collections::BTreeMap;

type Lines = BTreeMap<u32, i64>;

/// What the sites under `work` hold at the end, by innermost line, where that lies in the program's own file.
fn recorded_lines(observed: &Observed, file: &str) -> Lines {
    let mut lines = Lines::new();
    for observed in observed.python_sites() {
        let is_work = observed.stack.iter().any(|frame| frame.function == "work");
        let Some(innermost) = observed
            .stack
            .first()
            .filter(|frame| is_work && frame.file == file)
        else {
            continue;
        };
        *lines.entry(innermost.line).or_default() += observed.site.live_bytes as i64;
    }
    lines.retain(|_, bytes| *bytes != 0);
    lines
}

fn compare(python: &Python, program: &str) {
    let recorder =
        Recorder::new(python, "tracemalloc").program(&format!("tracemalloc/{program}.py"));
    let recording = recorder.succeed();
    let answer = recording.answer();
    let file = answer["file"].as_str().expect("a path");
    let entries = answer["lines"].as_object().expect("an object").iter();
    let expected: Lines = entries
        .map(|(line, bytes)| {
            (
                line.parse().expect("a line"),
                bytes.as_i64().expect("bytes"),
            )
        })
        .filter(|(_, bytes)| *bytes != 0)
        .collect();
    assert!(
        expected.len() >= 5,
        "{program}: tracemalloc saw too little: {expected:?}"
    );
    assert_eq!(
        recorded_lines(&recording.observed(), file),
        expected,
        "{program} on {}",
        python.name()
    );
}

fn compare_everywhere(program: &str) {
    for python in pythons() {
        compare(&python, program);
    }
}

#[test]
fn lists_dicts_and_strings() {
    compare_everywhere("containers");
}

#[test]
fn classes_and_instances() {
    compare_everywhere("classes");
}

#[test]
fn generators_and_comprehensions() {
    compare_everywhere("generators");
}

#[test]
fn results_of_c_libraries() {
    compare_everywhere("libraries");
}

#[test]
fn recursion_and_caches() {
    compare_everywhere("recursion");
}

#[test]
fn exceptions_and_handlers() {
    compare_everywhere("exceptions");
}
