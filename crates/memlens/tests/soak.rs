//! A threaded, forking, allocating mix for as long as one likes: no event is lost, and what memlens itself holds does not grow.
//!
//! Five seconds on one interpreter; `cargo xtask soak` sets MEMLENS_SOAK_SECONDS, and then it is every interpreter listed, one after the other.
mod recording;

use memlens_format::Allocator;
use recording::observed::Totals;
use recording::{Observed, Python, Recorder, any_python, pythons};
use serde_json::Value;

/// What is first met (code, threads' arenas) makes the tables larger until about this part of the time.
const WARM_UP: f64 = 0.4;
/// Shorter runs are all warm-up.
const LEAST_SECONDS_FOR_GROWTH: f64 = 60.0;
/// What memlens holds of a process that has ended: its sites, until the capture is written.
const MOST_KIB_AN_ENDED_PROCESS: f64 = 24.0;
const MOST_CAPTURE_BYTES: u64 = 2_000_000;

#[test]
fn no_event_is_lost_and_nothing_grows() {
    match std::env::var("MEMLENS_SOAK_SECONDS") {
        Ok(seconds) => pythons().iter().for_each(|python| soak(python, &seconds)),
        Err(_) => soak(&any_python(), "5"),
    }
}

fn soak(python: &Python, seconds: &str) {
    let recording = Recorder::new(python, "soak").program("soak.py").argument(seconds).record();
    recording.assert_status(7);
    assert_eq!(recording.stderr(), "", "{}", python.name());
    let (answer, observed) = (recording.answer(), recording.observed());
    assert_books_agree(python, &answer["processes"], &observed);
    let unseen = observed.capture.meta.unseen;
    assert_eq!((unseen.lost_events, unseen.unreadable_stacks, unseen.unrecorded_processes), (0, 0, 0));
    let file_bytes = recording.capture.metadata().expect("the capture").len();
    assert!(file_bytes < MOST_CAPTURE_BYTES, "{}: a capture of {file_bytes} bytes", python.name());
    let seconds: f64 = seconds.parse().expect("seconds");
    println!("{}: {}", python.name(), account(&observed, file_bytes));
    for sample in answer["samples"].as_array().expect("samples") {
        println!("  {sample}");
    }
    if seconds >= LEAST_SECONDS_FOR_GROWTH {
        assert_no_growth(python, answer["samples"].as_array().expect("samples"), seconds);
    }
}

/// Every process' own books of the two counted functions, and the capture's figures.
fn assert_books_agree(python: &Python, processes: &Value, observed: &Observed) {
    let processes = processes.as_object().expect("books by process");
    assert!(processes.len() > 5, "{} processes", processes.len());
    for (pid, books) in processes {
        let pid = pid.parse().expect("a process id");
        for (function, allocator) in [("block", Allocator::Pyobject), ("native", Allocator::Malloc)] {
            let expected: Vec<i64> = serde_json::from_value(books[function].clone()).expect("four figures");
            let found = totals(observed, pid, function, allocator);
            let found = [found.allocations, found.allocated_bytes, found.live_count, found.live_bytes];
            assert_eq!(found.as_slice(), expected, "{function} in process {pid} on {}", python.name());
        }
    }
}

/// What a function asked of an allocator. Process ids come round again: it is the sum of all that had this one.
fn totals(observed: &Observed, pid: u32, function: &str, allocator: Allocator) -> Totals {
    let is_meant = |index: u32| observed.capture.processes[index as usize].pid == pid;
    let sites = observed.in_function(function).map(|observed| observed.site);
    let mut totals = Totals::default();
    for site in sites.filter(|site| site.allocator == allocator && is_meant(site.process)) {
        totals.add(&site);
    }
    totals
}

fn account(observed: &Observed, file_bytes: u64) -> String {
    let allocations: u64 = observed.sites.iter().map(|site| site.site.allocations).sum();
    let processes = observed.capture.processes.len();
    let seconds = observed.capture.meta.duration_ns as f64 / 1e9;
    format!("{seconds:.0} s, {allocations} allocations in {processes} processes, a capture of {file_bytes} bytes")
}

/// After the warm-up nothing grows by more than a twentieth: the tables, the program's own memory with the agent's private tables in it, and
/// memlens, but for what it keeps of each process that has ended: its places in the capture.
fn assert_no_growth(python: &Python, samples: &[Value], seconds: f64) {
    let figure = |sample: &Value, name: &str| sample[name].as_f64().expect("a number");
    let warm: Vec<&Value> = samples.iter().filter(|sample| figure(sample, "seconds") >= seconds * WARM_UP).collect();
    let (first, last) = warm.split_at(warm.len() / 2);
    let highest = |part: &[&Value], name| part.iter().map(|sample| figure(sample, name)).fold(0.0, f64::max);
    let ended = highest(last, "ended_processes") - highest(first, "ended_processes");
    for (name, per_ended_process) in [
        ("tables_mapped_kib", 0.0),
        ("tables_resident_kib", 0.0),
        ("anonymous_kib", 0.0),
        ("parent_resident_kib", MOST_KIB_AN_ENDED_PROCESS),
    ] {
        let (before, after) = (highest(first, name), highest(last, name));
        let allowed = before * 1.05 + per_ended_process * ended;
        assert!(after <= allowed, "{name} grew from {before} to {after} on {}, {ended} processes later", python.name());
    }
}
