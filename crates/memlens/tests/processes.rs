//! Trees of processes (`tests/programs/processes`): one capture for the whole tree, in which each has its place and what it did.
//! One interpreter: what depends on its version (fork, spawn and pools among the hazards) is tested on each.
mod recording;

use memlens_format::capture::Process;
use recording::{Observed, Python, Recorder, any_python, pythons_with_services};
use std::collections::BTreeMap;

/// Records a program that prints `[pid, parent's pid, size]` for each call of `work`, and finds each process with its parent and its calls.
fn each_process_has_its_place(python: &Python, program: &str, arguments: &[&str]) -> Observed {
    let recorder = Recorder::new(python, "processes").program(&format!("processes/{program}"));
    let recording = recorder.arguments(arguments).succeed();
    let calls: Vec<(u32, u32, i64)> = serde_json::from_value(recording.answer()).expect("rows of three numbers");
    let observed = recording.observed();
    let mut expected: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for (pid, parent_pid, size) in calls {
        *expected.entry((pid, parent_pid)).or_default() += size + python.bytes_header as i64;
    }
    let found: BTreeMap<(u32, u32), i64> = expected.keys().map(|&key| (key, made_in_work(&observed, key))).collect();
    for (key, bytes) in expected {
        let surplus = found[&key] - bytes;
        assert!(
            (0..100_000).contains(&surplus),
            "{program} on {}: {key:?} made {bytes}, found {found:?}",
            python.name()
        );
    }
    observed
}

/// Bytes that function `work` made in the process of this id and parent.
fn made_in_work(observed: &Observed, (pid, parent_pid): (u32, u32)) -> i64 {
    let is_it = |process: &Process| (process.pid, process.parent_pid) == (pid, parent_pid);
    let sites =
        observed.in_function("work").filter(|site| is_it(&observed.capture.processes[site.site.process as usize]));
    sites.map(|site| site.site.allocated_bytes as i64).sum()
}

fn pid_of_root(observed: &Observed) -> u32 {
    observed.capture.processes[0].pid
}

#[test]
fn pools_by_fork_spawn_and_forkserver() {
    let python = any_python();
    for method in ["fork", "spawn", "forkserver"] {
        each_process_has_its_place(&python, "pool.py", &[method]);
    }
}

#[test]
fn futures() {
    let python = any_python();
    each_process_has_its_place(&python, "executor.py", &[]);
}

#[test]
fn programs_started_by_vfork() {
    let python = any_python();
    each_process_has_its_place(&python, "vfork.py", &[]);
}

#[test]
fn a_daemon_that_was_forked_twice() {
    let python = any_python();
    let observed = each_process_has_its_place(&python, "daemon.py", &[]);
    let daemon = observed.capture.processes.last().expect("processes");
    assert_ne!(daemon.parent_pid, pid_of_root(&observed), "{}", python.name());
}

#[test]
fn the_ends_of_short_lived_children_are_seen() {
    let python = any_python();
    let recording = Recorder::new(&python, "processes").program("processes/short_lived.py").succeed();
    let left_open: u32 = serde_json::from_value(recording.answer()).expect("a number");
    assert_eq!(left_open, 0, "{}", python.name());
    assert!(recording.observed().capture.processes.len() > 400);
}

#[test]
fn a_loader_of_data() {
    let python = any_python();
    each_process_has_its_place(&python, "data_loader.py", &[]);
}

#[test]
fn joblib() {
    for python in pythons_with_services() {
        each_process_has_its_place(&python, "loky_pool.py", &[]);
    }
}

#[test]
fn gunicorn_with_four_workers() {
    for python in pythons_with_services() {
        let observed = each_process_has_its_place(&python, "gunicorn_service.py", &[]);
        let arbiter = observed.capture.processes.iter().find(|process| process.parent_pid == pid_of_root(&observed));
        let arbiter = arbiter.expect("the arbiter").pid;
        let workers = observed.capture.processes.iter().filter(|process| process.parent_pid == arbiter);
        assert_eq!(workers.count(), 4, "{}", python.name());
    }
}

/// What three forked processes share counts once, and no less than what one of them has.
#[test]
fn shared_pages_count_once() {
    let python = any_python();
    let code = "import os
kept = bytearray(b'x') * 60_000_000
ends = [os.pipe() for _ in range(3)]
for reader, writer in ends:
    if os.fork() == 0:
        os.write(writer, bytes([len([object() for _ in range(100)])]))
        os.read(ends[0][0], 0)
        os._exit(0)
for reader, writer in ends:
    os.read(reader, 1)
for _ in ends:
    os.wait()
";
    let recording = Recorder::new(&python, "shared").arguments(&["-c", code]).succeed();
    let summary = recording.json("summary");
    let figure = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"));
    let shared = figure("pss_peak_bytes");
    assert!((60_000_000..120_000_000).contains(&shared), "{shared} on {}", python.name());
    assert!(figure("rss_peak_bytes") >= shared, "{}", python.name());
}
