//! `memlens run --tasks`: the name of the asyncio task that runs is the outermost frame, and is the one that asyncio itself would tell.
mod recording;

use recording::{Observed, Python, Recorder, Recording, any_python, other_builds, pythons, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// By the name of the task ("" for none): count and bytes of the blocks that one line of `keep` made.
fn kept(observed: &Observed, line: &Value) -> BTreeMap<String, (u64, u64)> {
    let mut kept = BTreeMap::new();
    for found in observed.in_function("keep").filter(|found| json!(found.stack[0].line) == *line) {
        let outermost = found.stack.last().filter(|frame| frame.file == "<task>");
        let name = outermost.map_or("", |frame| &frame.function);
        let (count, bytes) = kept.entry(name.to_owned()).or_insert((0, 0));
        (*count, *bytes) = (*count + found.site.allocations, *bytes + found.site.allocated_bytes);
    }
    kept.retain(|_, (count, _)| *count > 0);
    kept
}

/// What the program says of itself.
fn expected(answer: &Value) -> BTreeMap<String, (u64, u64)> {
    let number = |value: &Value| value.as_u64().expect("a number");
    let tasks = answer["tasks"].as_object().expect("an object");
    tasks.iter().map(|(name, sums)| (name.clone(), (number(&sums[0]), number(&sums[1])))).collect()
}

/// With the agent that checks each stack, where there is one.
fn recorder(python: &Python) -> Recorder {
    let recorder = Recorder::new(python, "tasks");
    match std::env::var_os("MEMLENS_TEST_CHECKING_AGENT") {
        Some(agent) => recorder.variable("MEMLENS_AGENT", agent),
        None => recorder,
    }
}

/// `--tasks` before the program.
fn with_tasks(recorder: Recorder, program: &str) -> Recording {
    recorder.argument("--tasks").program(program).record()
}

fn names(observed: &Observed) -> BTreeSet<String> {
    let frames = observed.sites.iter().filter_map(|found| found.stack.last());
    frames.filter(|frame| frame.file == "<task>").map(|frame| frame.function.clone()).collect()
}

#[test]
fn each_task_has_what_it_allocated() {
    for python in pythons().into_iter().chain(other_builds()) {
        let recording = with_tasks(recorder(&python), "tasks.py");
        if python.is_free_threaded() {
            recording.assert_status(2);
            let message = recording.stderr();
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("leave out --tasks") && !recording.capture.exists(), "{message}");
            continue;
        }
        recording.assert_status(0);
        assert_eq!(recording.stderr(), "", "{}", python.name());
        let (observed, answer) = (recording.observed(), recording.answer());
        assert_eq!(kept(&observed, &answer["line"]), expected(&answer), "{}", python.name());
        let inner = observed.sites.iter().flat_map(|found| found.stack.iter().rev().skip(1));
        assert_eq!(inner.filter(|frame| frame.file == "<task>").count(), 0, "{}", python.name());
    }
}

#[test]
fn the_call_tree_and_an_export_have_them_outermost() {
    let recording = with_tasks(Recorder::new(&any_python(), "tasks"), "tasks.py");
    let tree = text(&recording.command(&["tree", "--json"]).stdout);
    assert!(tree.contains("\"<task>\"") && tree.contains("zweite Aufgabe – δεύτερη"), "{tree}");
    let collapsed = text(&recording.command(&["export", "--to", "collapsed"]).stdout);
    assert!(collapsed.lines().any(|line| line.starts_with("first") && line.contains("keep")), "{collapsed}");
}

#[test]
fn without_the_option_there_are_none() {
    let recording = Recorder::new(&any_python(), "tasks").program("tasks.py").succeed();
    let (observed, answer) = (recording.observed(), recording.answer());
    assert_eq!(names(&observed), BTreeSet::new());
    let sum = expected(&answer).values().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert_eq!(kept(&observed, &answer["line"]), BTreeMap::from([(String::new(), sum)]));
}

#[test]
fn four_thousand_names_are_told_apart() {
    let code = "\
import asyncio
async def child(number):
    global kept
    kept = b'-' * number
async def main():
    for number in range(5000):
        await asyncio.create_task(child(10_000 + number), name=f'request {number}')
asyncio.run(main())";
    let recorder = Recorder::new(&any_python(), "tasks").arguments(&["--tasks", "-c", code]);
    let observed = recorder.succeed().observed();
    let names = names(&observed);
    // One of them is `main`.
    assert_eq!(names.len(), 4096 + 1);
    assert!(names.contains("request 4094") && !names.contains("request 4095") && names.contains("(others)"));
    let others = observed.in_function("child").filter(|found| found.stack.last().unwrap().function == "(others)");
    let blocks: u64 = others.filter(|found| found.stack[0].line == 4).map(|found| found.site.allocations).sum();
    assert_eq!(blocks, 5000 - 4095);
}

#[test]
fn tasks_that_nobody_named_go_by_their_coroutine() {
    let code = "\
import asyncio
async def handle(number):
    return b'-' * number
async def main():
    for number in range(5000):
        await asyncio.create_task(handle(10_000 + number))
asyncio.run(main())";
    let recorder = Recorder::new(&any_python(), "tasks").arguments(&["--tasks", "-c", code]);
    let names = names(&recorder.succeed().observed());
    // asyncio ends with one or two of its own.
    let (own, others): (Vec<&str>, Vec<&str>) = names.iter().map(String::as_str).partition(|name| !name.contains('.'));
    assert_eq!(own, ["handle", "main"]);
    assert!(others.iter().all(|name| name.starts_with("BaseEventLoop.shutdown_")), "{others:?}");
}

#[test]
fn a_child_process_tells_its_own() {
    let code = "\
import asyncio, os
async def child():
    global kept
    kept = b'-' * 12_345
async def main(name):
    await asyncio.create_task(child(), name=name)
asyncio.run(main('of the parent'))
pid = os.fork()
if pid == 0:
    asyncio.run(main('of the child'))
    os._exit(0)
os.waitpid(pid, 0)";
    let recorder = Recorder::new(&any_python(), "tasks").arguments(&["--tasks", "-c", code]);
    let names = names(&recorder.succeed().observed());
    assert!(names.contains("of the parent") && names.contains("of the child"), "{names:?}");
}

#[test]
fn asyncio_without_its_own_module_in_c_is_said_to_be_unreadable() {
    let code = "\
import sys
sys.modules['_asyncio'] = None
import asyncio
async def main():
    return b'-' * 12_345
asyncio.run(main())";
    let recording = Recorder::new(&any_python(), "tasks").arguments(&["--tasks", "-c", code]).succeed();
    let message = recording.stderr();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("memlens: --tasks: ") && message.contains("not told apart"), "{message}");
    assert_eq!(names(&recording.observed()), BTreeSet::new());
}
