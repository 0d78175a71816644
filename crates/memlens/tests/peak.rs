//! The peak, and who held it, equal a slow replay of the program's own event list (`tests/programs/peak.py`).
mod recording;

use memlens_format::Allocator;
use recording::{Observed, Recorder, pythons};
use std::collections::BTreeMap;

/// Whole units live at the peak by line of `peak.py`.
fn units_at_peak(observed: &Observed, unit: u64) -> BTreeMap<String, u64> {
    let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
    for observed in &observed.sites {
        let Some(innermost) = observed
            .stack
            .first()
            .filter(|frame| frame.file.ends_with("peak.py"))
        else {
            continue;
        };
        // A bytearray's buffer is in the object domain, or from 3.13 on in the mem domain.
        if matches!(
            observed.site.allocator,
            Allocator::Pyobject | Allocator::Pymem
        ) {
            *bytes.entry(innermost.line).or_default() += observed.site.peak_bytes;
        }
    }
    let units = bytes
        .into_iter()
        .map(|(line, bytes)| (line.to_string(), bytes / unit));
    units.filter(|(_, units)| *units > 0).collect()
}

#[test]
fn the_peak_equals_a_slow_replay() {
    for python in pythons() {
        let recording = Recorder::new(&python, "peak").program("peak.py").succeed();
        let answer = recording.answer();
        let unit = answer["unit"].as_u64().expect("a number");
        let lines = answer["lines"].as_object().expect("an object").iter();
        let expected: BTreeMap<String, u64> = lines
            .map(|(line, units)| (line.clone(), units.as_u64().expect("units")))
            .collect();
        let observed = recording.observed();
        assert_eq!(
            units_at_peak(&observed, unit),
            expected,
            "{}",
            python.name()
        );
        assert!(observed.capture.meta.peak_bytes >= answer["peak"].as_u64().expect("units") * unit);
    }
}

/// At the peak, the sites add up to the peak: nothing is left out and nothing counted twice.
#[test]
fn the_sites_add_up_to_the_peak() {
    for python in pythons() {
        let recording = Recorder::new(&python, "peak-sum")
            .program("peak.py")
            .succeed();
        let capture = recording.observed().capture;
        let heap = capture.sites.iter().filter(|site| site.allocator.is_heap());
        assert_eq!(
            heap.map(|site| site.peak_bytes).sum::<u64>(),
            capture.meta.peak_bytes,
            "{}",
            python.name()
        );
    }
}
