//! The rival's own driver as an oracle: memray's wheel ships what its tests allocate with, and every byte and count of it is in the capture.
mod recording;

use memlens_format::Allocator;
use memlens_format::capture::{NodeId, Release};
use recording::observed::{FrameName, ObservedSite, Totals};
use recording::{Observed, Recorder, python_with_wheels};
use serde_json::Value;
use std::collections::BTreeMap;

/// Figures by function of the driver, and within it by allocator.
type Books = BTreeMap<String, BTreeMap<String, Totals>>;

/// The innermost function of the driver itself: between it and the allocator may be memray's own lines of Python.
fn function_of(stack: &[FrameName]) -> Option<&str> {
    let own = stack.iter().find(|frame| frame.file.ends_with("memray_driver.py"));
    own.map(|frame| frame.function.as_str())
}

fn expected(answer: &Value) -> Books {
    let mut books: Books = serde_json::from_value::<BTreeMap<String, BTreeMap<String, [i64; 4]>>>(answer.clone())
        .expect("books")
        .into_iter()
        .map(|(function, book)| (function, book.into_iter().map(|(name, figures)| (name, totals(figures))).collect()))
        .collect();
    forget_pieces(&mut books);
    books
}

fn totals([allocations, allocated_bytes, live_count, live_bytes]: [i64; 4]) -> Totals {
    Totals { allocations, allocated_bytes, live_count, live_bytes }
}

/// What the capture has of the driver's functions: all that was asked of the C library, and of Python's domains what the books name, for the
/// interpreter makes objects of its own on any line.
fn found(observed: &Observed, expected: &Books) -> Books {
    let mut books = Books::new();
    for ObservedSite { stack, site } in &observed.sites {
        let book = function_of(stack).and_then(|function| Some((function, expected.get(function)?)));
        let Some((function, expected)) = book else { continue };
        let is_python = matches!(site.allocator, Allocator::PymemRaw | Allocator::Pymem | Allocator::Pyobject);
        if !is_python || expected.contains_key(site.allocator.name()) {
            let book = books.entry(function.to_owned()).or_default();
            book.entry(site.allocator.name().to_owned()).or_default().add(site);
        }
    }
    forget_pieces(&mut books);
    books
}

/// As how many pieces a mapping counts that was released in part is no promise.
fn forget_pieces(books: &mut Books) {
    books.values_mut().filter_map(|book| book.get_mut("mmap")).for_each(|totals| totals.live_count = 0);
}

/// Count and bytes of what was released in a function, its callees included.
fn released_in(observed: &Observed, function: &str) -> (u64, u64) {
    let capture = &observed.capture;
    let is_in = |node: NodeId| {
        let parent = |node: &NodeId| capture.nodes[node.0 as usize].parent;
        let name = |node: NodeId| capture.frames[capture.nodes[node.0 as usize].frame.0 as usize].function;
        std::iter::successors(Some(node), parent).any(|node| capture.strings[name(node).0 as usize] == function)
    };
    let releases = capture.releases.iter().filter(|release| release.node.is_some_and(is_in));
    releases.fold((0, 0), |(count, bytes), release: &Release| (count + release.count, bytes + release.bytes))
}

#[test]
fn every_allocation_of_memrays_own_driver() {
    let Some(python) = python_with_wheels() else { return };
    let recording = Recorder::new(&python, "memray_driver").program("memray_driver.py").argument("1").succeed();
    let (observed, answer) = (recording.observed(), recording.answer());
    let expected = expected(&answer["books"]);
    assert_eq!(found(&observed, &expected), expected);
    for (function, figures) in answer["released"].as_object().expect("functions") {
        let expected: (u64, u64) = serde_json::from_value(figures.clone()).expect("two figures");
        // The agent has C23's functions also where the C library has none.
        assert!(expected.0 > 0, "{function} was not called");
        assert_eq!(released_in(&observed, function), expected, "{function}");
    }
    assert_eq!(observed.capture.meta.unseen.lost_events, 0);
}
