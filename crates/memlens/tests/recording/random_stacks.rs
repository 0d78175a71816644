//! `tests/programs/stacks.py` and what extends it: the stacks that Python itself saw, and those that were recorded.
use super::{FrameName, Observed, Python, Recorder, programs};
use memlens_format::Allocator;
use std::collections::{BTreeMap, HashSet};

/// Units of 64 KiB that were allocated under each stack, innermost frame first.
type Stacks = BTreeMap<Vec<FrameName>, u64>;

fn expected_stacks(answer: &serde_json::Value) -> Stacks {
    let entries = answer["stacks"].as_array().expect("a list").iter();
    let entry = |entry: &serde_json::Value| (stack_of(&entry[0]), entry[1].as_u64().expect("units"));
    entries.map(entry).collect()
}

fn stack_of(frames: &serde_json::Value) -> Vec<FrameName> {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let line = |value: &serde_json::Value| value.as_u64().expect("a line") as u32;
    let name = |frame: &serde_json::Value| FrameName {
        function: text(&frame[0]),
        file: text(&frame[1]),
        line: line(&frame[2]),
    };
    frames.as_array().expect("a list").iter().map(name).collect()
}

/// Lines of the programs that make a large block, with their files.
fn marked_lines() -> HashSet<(String, u32)> {
    let mut marked = HashSet::new();
    for name in ["stacks.py", "greenlet_stacks.py", "copied_stacks.py"] {
        let path = programs().join(name);
        let source = std::fs::read_to_string(&path).expect("the program's source");
        let lines = (1..).zip(source.lines()).filter(|(_, text)| text.contains("bytes(size())"));
        marked.extend(lines.map(|(line, _)| (path.to_string_lossy().into_owned(), line)));
    }
    marked
}

fn recorded_stacks(observed: &Observed, unit: u64) -> Stacks {
    let marked = marked_lines();
    let is_of_program = |frame: &FrameName| frame.file.ends_with("stacks.py");
    let is_marked = |stack: &[FrameName]| match stack.first() {
        Some(innermost) if is_of_program(innermost) => marked.contains(&(innermost.file.clone(), innermost.line)),
        // What the program compiles itself; the interpreter's start-up has a "<string>" too, a line of a .pth file.
        Some(innermost) => {
            let is_made_up = innermost.file.starts_with('<') && !innermost.file.starts_with("<frozen");
            is_made_up && stack.iter().any(is_of_program)
        }
        None => false,
    };
    let mut stacks = Stacks::new();
    for observed in observed.sites.iter().filter(|observed| observed.site.allocator == Allocator::Pyobject) {
        let units = observed.site.allocated_bytes / unit;
        if units > 0 && is_marked(&observed.stack) {
            *stacks.entry(observed.stack.clone()).or_default() += units;
        }
    }
    stacks
}

fn shown(stack: &[FrameName]) -> String {
    let frames = stack.iter().map(|frame| format!("    {} {}:{}", frame.function, frame.file, frame.line));
    frames.collect::<Vec<_>>().join("\n")
}

fn first_differences(found: &Stacks, expected: &Stacks) -> Vec<String> {
    let missing = expected.iter().filter(|(stack, units)| found.get(*stack) != Some(units));
    let missing =
        missing.map(|(stack, units)| format!("expected {units}, found {:?}\n{}", found.get(stack), shown(stack)));
    let surplus = found.iter().filter(|(stack, _)| !expected.contains_key(*stack));
    let surplus = surplus.map(|(stack, units)| format!("found {units}, never there\n{}", shown(stack)));
    missing.take(4).chain(surplus.take(4)).collect()
}

/// Records so many allocations of `stacks.py` and holds each stack against Python's own.
pub fn compare(python: &Python, count: usize) {
    compare_in(python, "stacks.py", count);
}

/// [`compare`] with CPython's own just-in-time compiler (3.14 and newer, where it was built in).
pub fn compare_compiled(python: &Python, count: usize) {
    let recorder = Recorder::new(python, "compiled").variable("PYTHON_JIT", "1");
    compare_recorded(python, recorder.program("stacks.py"), count);
}

/// The same of another program that prints what `stacks.py` prints.
pub fn compare_in(python: &Python, program: &str, count: usize) {
    compare_recorded(python, Recorder::new(python, "stacks").program(program), count);
}

fn compare_recorded(python: &Python, recorder: Recorder, count: usize) {
    let recording = recorder.argument(count.to_string()).succeed();
    let answer = recording.answer();
    let unit = answer["unit"].as_u64().expect("a number");
    let expected = expected_stacks(&answer);
    assert!(expected.len() > count * 3 / 10, "only {} stacks", expected.len());
    let found = recorded_stacks(&recording.observed(), unit);
    let differences = first_differences(&found, &expected);
    assert!(differences.is_empty(), "{}: {}", python.name(), differences.join("\n"));
}
