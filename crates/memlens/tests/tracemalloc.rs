//! Per-line live bytes of the Python domains equal tracemalloc's, to the byte, in the same run.
//!
//! One difference is by design. CPython keeps released floats, tuples, lists, dicts (and, before 3.11, frames) in free lists
//! and makes the next one of the type out of them without an allocation. tracemalloc then moves the block to the new line;
//! memlens leaves it with the line whose allocation got the block, for no allocator is called. The programs keep away from
//! that (see `tracemalloc_check.py`), and the last test shows it.
mod recording;

use recording::{Observed, Python, Recorder, pythons};
use std::collections::{BTreeMap, BTreeSet};

type Lines = BTreeMap<u32, i64>;

/// What the sites under `work` hold at the end, by innermost line, where that lies in the program's own file.
fn recorded_lines(observed: &Observed, file: &str) -> Lines {
    let mut lines = Lines::new();
    for observed in observed.python_sites() {
        let is_work = observed.stack.iter().any(|frame| frame.function == "work");
        let Some(innermost) = observed.stack.first().filter(|frame| is_work && frame.file == file) else {
            continue;
        };
        *lines.entry(innermost.line).or_default() += observed.site.live_bytes as i64;
    }
    lines.retain(|_, bytes| *bytes != 0);
    lines
}

/// A line's bytes as memlens and as tracemalloc have them.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    line: u32,
    memlens: i64,
    tracemalloc: i64,
}

fn differences(python: &Python, program: &str) -> Vec<Difference> {
    let recording = Recorder::new(python, "tracemalloc").program(&format!("tracemalloc/{program}.py")).succeed();
    let answer = recording.answer();
    let file = answer["file"].as_str().expect("a path");
    let entries = answer["lines"].as_object().expect("an object").iter();
    let expected: Lines =
        entries.map(|(line, bytes)| (line.parse().expect("a line"), bytes.as_i64().expect("bytes"))).collect();
    assert!(expected.len() >= 2, "{program}: tracemalloc saw too little: {expected:?}");
    let found = recorded_lines(&recording.observed(), file);
    let bytes = |lines: &Lines, line| lines.get(&line).copied().unwrap_or(0);
    let lines: BTreeSet<u32> = found.keys().chain(expected.keys()).copied().collect();
    let difference = |line| Difference { line, memlens: bytes(&found, line), tracemalloc: bytes(&expected, line) };
    lines.into_iter().map(difference).filter(|both| both.memlens != both.tracemalloc).collect()
}

fn compare_everywhere(program: &str) {
    let compared = pythons().into_iter().map(|python| (python.name(), differences(&python, program)));
    let failed: Vec<_> = compared.filter(|(_, differences)| !differences.is_empty()).collect();
    assert!(failed.is_empty(), "{program}: {failed:#?}");
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

/// Fifty lists and the one that holds them come out of the free list, which `first.clear()` on the line between has filled.
/// Before 3.14 a last one becomes the list in which tracemalloc hands out its traces.
#[test]
fn an_object_from_a_free_list_stays_with_the_line_that_allocated_its_block() {
    const LIST: i64 = 56;
    for python in pythons() {
        let moved: Vec<(u32, i64)> = differences(&python, "free_list")
            .into_iter()
            .map(|difference| (difference.line, difference.memlens - difference.tracemalloc))
            .collect();
        let taken = if python.minor < 14 { 52 } else { 51 };
        assert_eq!(moved, [(7, taken * LIST), (9, -51 * LIST)], "{}", python.name());
    }
}
