//! Real wheels that carry their own allocators: the buffers that they say they hold are seen, with the line that made them.
mod recording;

use memlens_format::Allocator;
use recording::{Observed, Recorder, python_with_wheels};

/// Bytes live at the end of blocks that an allocator inside a library gave under a function of the program's.
fn held_under(observed: &Observed, function: &str) -> u64 {
    let is_inside = |allocator| matches!(allocator, Allocator::Jemalloc | Allocator::Mimalloc);
    let sites = observed.sites.iter().filter(|site| is_inside(site.site.allocator));
    let under = sites.filter(|site| site.stack.iter().any(|frame| frame.function == function));
    under.map(|site| site.site.live_bytes).sum()
}

#[test]
fn known_buffers_of_polars_and_pyarrow() {
    let Some(python) = python_with_wheels() else { return };
    let recording = Recorder::new(&python, "wheels").program("wheels.py").succeed();
    let (observed, answer) = (recording.observed(), recording.answer());
    for (function, expected) in answer.as_object().expect("an object") {
        let (found, expected) = (held_under(&observed, function), expected.as_u64().expect("bytes"));
        assert!(
            (expected..expected + expected / 50).contains(&found),
            "{function}: {found} bytes, expected {expected}"
        );
    }
    assert_eq!(observed.capture.meta.unseen.lost_events, 0);
}
