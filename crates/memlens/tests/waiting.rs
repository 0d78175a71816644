//! Native threads that allocate while Python waits: for whose line they work.
mod recording;

use memlens_format::Allocator;
use recording::observed::{ObservedSite, Totals};
use recording::{Observed, Recorder, compile_library, pythons};

const ROUNDS: i64 = 400;

/// What the threads of this name allocated whose stack ends in these functions: the waiting one's name, or none at all.
fn totals(observed: &Observed, thread: &str, waiting: Option<&str>) -> Totals {
    let is_meant = |found: &&ObservedSite| {
        let mut names = found.stack.iter().map(|frame| frame.function.as_str());
        let is_thread = names.next() == Some(thread);
        is_thread && found.site.allocator == Allocator::AlignedAlloc && names.next() == waiting
    };
    let mut totals = Totals::default();
    observed.sites.iter().filter(is_meant).for_each(|found| totals.add(&found.site));
    totals
}

/// What so many threads make, of which every fourth block stays.
fn made_by(threads: i64) -> Totals {
    let (rounds, quarter) = (threads * ROUNDS, threads * ROUNDS / 4);
    Totals { allocations: rounds, allocated_bytes: quarter * 640, live_count: quarter, live_bytes: quarter * 256 }
}

/// The line that waits is in the stack of all that native threads do meanwhile; where several wait, or none, their names alone are.
#[test]
fn native_threads_work_for_the_line_that_waits() {
    let library = compile_library("cc", "native_threads.c", &[]);
    for python in pythons() {
        let recorder = Recorder::new(&python, "waiting").program("waiting.py").argument(&library);
        let observed = recorder.arguments(&[&ROUNDS.to_string()]).succeed().observed();
        for (thread, waiting, threads) in [
            ("worker-0", Some("one_waits"), 3),
            ("(unnamed)", Some("one_waits"), 3),
            ("worker-0", Some("another_waits"), 3),
            ("worker-0", Some("child_waits"), 1),
            // Twice three and once four, the last of them without a name of its own (since 3.14 it has that of the Python thread that made it).
            ("worker-0", None, 3),
            ("worker-1", None, 3),
            ("worker-2", None, 1),
        ] {
            let found = totals(&observed, thread, waiting);
            assert_eq!(found, made_by(threads), "{thread} and {waiting:?} on {}", python.name());
        }
        let outer = observed.sites.iter().find(|found| found.stack.iter().any(|frame| frame.function == "child_waits"));
        let outermost = outer.and_then(|found| found.stack.last()).map(|frame| frame.function.as_str());
        assert_eq!(outermost, Some("<module>"), "{}", python.name());
        assert_eq!(observed.capture.meta.unseen.lost_events, 0, "{}", python.name());
    }
}

/// Such a thread never comes back from `PyEval_RestoreThread`.
#[test]
fn threads_that_wait_when_the_interpreter_goes_away() {
    let library = compile_library("cc", "native_threads.c", &[]);
    for python in pythons() {
        let recording =
            Recorder::new(&python, "waiting-at-the-end").program("waiting_at_the_end.py").argument(&library).record();
        recording.assert_status(5);
        assert_eq!((recording.stdout().as_str(), recording.stderr().as_str()), ("the end\n", ""), "{}", python.name());
        assert_eq!(recording.observed().capture.meta.unseen.lost_events, 0, "{}", python.name());
    }
}
