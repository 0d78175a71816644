//! Some processes of a recording, as if only they had been recorded.
use crate::pattern::Pattern;
use memlens_format::Allocator;
use memlens_format::capture::{Capture, Point, Process, Site, SiteId};
use std::collections::HashMap;

/// What names processes: a process id, or a part of the command (or a glob, as for files).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPattern {
    pid: Option<u32>,
    command: Pattern,
}

impl ProcessPattern {
    /// A pattern as the user wrote it. What is a number is a process id and nothing else.
    pub fn new(text: &str) -> Self {
        Self { pid: text.parse().ok(), command: Pattern::new(text) }
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        self.command.as_str()
    }

    /// Whether `process` is meant.
    pub fn matches(&self, process: &Process) -> bool {
        match self.pid {
            Some(pid) => process.pid == pid,
            None => self.command.matches(&process.command.join(" ")),
        }
    }
}

/// The part of a capture that belongs to the processes for which `is_kept` says so.
///
/// The heap's peak of one process is exact. Of several it is the largest sum at the end of a time slice, and no less than the largest
/// peak of any. Resident sets over time are known for the whole tree only: they are 0 in the timeline and, if there are several
/// processes, in the totals. What could not be seen, and how it ended, stays what it was for the whole recording.
pub fn select_processes(mut capture: Capture, is_kept: impl Fn(&Process) -> bool) -> Capture {
    let kept: Vec<bool> = capture.processes.iter().map(is_kept).collect();
    if !kept.contains(&false) {
        return capture;
    }
    let new_process = renumber(&kept);
    let kept_sites: Vec<bool> = capture.sites.iter().map(|site| kept[site.process as usize]).collect();
    let new_site = renumber(&kept_sites);
    retain_marked(&mut capture.processes, &kept);
    retain_marked(&mut capture.sites, &kept_sites);
    capture.releases.retain(|release| kept[release.process as usize]);
    capture.regions.retain(|region| kept[region.process as usize]);
    capture.regions.iter_mut().for_each(|region| region.process = new_process[region.process as usize]);
    capture.sites.iter_mut().for_each(|site| site.process = new_process[site.process as usize]);
    capture.releases.iter_mut().for_each(|release| release.process = new_process[release.process as usize]);
    for slice in &mut capture.slices {
        slice.changes.retain(|change| kept_sites[change.site.0 as usize]);
        slice.changes.iter_mut().for_each(|change| change.site = SiteId(new_site[change.site.0 as usize]));
    }
    capture.timeline = timeline(&capture);
    place_peak(&mut capture);
    capture
}

/// See [`crate::Profile::process_tree`]. Ids may be used again, so that a parent is the latest process of that id that came before.
pub(crate) fn family_tree(processes: &[Process]) -> Vec<(usize, &Process)> {
    let mut latest = HashMap::new();
    let mut depths: Vec<usize> = Vec::with_capacity(processes.len());
    let mut order: Vec<usize> = Vec::with_capacity(processes.len());
    for (index, process) in processes.iter().enumerate() {
        let parent: Option<usize> = latest.get(&process.parent_pid).copied();
        depths.push(parent.map_or(0, |parent| depths[parent] + 1));
        let place =
            parent.and_then(|parent| order.iter().position(|&placed| placed == parent)).map_or(order.len(), |at| {
                let below = order[at + 1..].iter().take_while(|&&placed| depths[placed] >= depths[index]).count();
                at + 1 + below
            });
        order.insert(place, index);
        latest.insert(process.pid, index);
    }
    order.into_iter().map(|index| (depths[index], &processes[index])).collect()
}

/// New indices of the kept rows.
fn renumber(kept: &[bool]) -> Vec<u32> {
    let mut next = 0;
    let mut number = |&is_kept: &bool| {
        next += u32::from(is_kept);
        next.wrapping_sub(1)
    };
    kept.iter().map(&mut number).collect()
}

fn retain_marked<Row>(rows: &mut Vec<Row>, kept: &[bool]) {
    let mut marks = kept.iter();
    rows.retain(|_| marks.next() == Some(&true));
}

/// The live heap at the end of each slice.
fn timeline(capture: &Capture) -> Vec<Point> {
    let is_heap = |site: &Site| site.allocator.is_heap();
    let mut live_bytes = 0u64;
    let point = |slice: &memlens_format::capture::Slice| {
        for change in slice.changes.iter().filter(|change| is_heap(&capture.sites[change.site.0 as usize])) {
            live_bytes = live_bytes.saturating_add_signed(change.live_bytes);
        }
        Point { time_ns: slice.time_ns, live_bytes, ..Point::default() }
    };
    capture.slices.iter().map(point).collect()
}

fn place_peak(capture: &mut Capture) {
    let highest = capture
        .timeline
        .iter()
        .copied()
        .reduce(|best, point| if point.live_bytes > best.live_bytes { point } else { best });
    let largest = capture.processes.iter().map(|process| process.peak_bytes).max().unwrap_or(0);
    let meta = &mut capture.meta;
    (meta.peak_bytes, meta.peak_time_ns) = (largest, highest.map_or(meta.peak_time_ns, |point| point.time_ns));
    match capture.processes.as_slice() {
        [process] => meta.rss_peak_bytes = process.rss_peak_bytes,
        _ => {
            meta.peak_bytes = largest.max(highest.map_or(0, |point| point.live_bytes));
            meta.rss_peak_bytes = 0;
        }
    }
    meta.pss_peak_bytes = 0;
    let mapped = |allocator: Allocator| {
        let sites = capture.sites.iter().filter(|site| site.allocator == allocator);
        sites.fold(0u64, |sum, site| sum.saturating_add(site.peak_bytes))
    };
    meta.file_mapped_bytes = mapped(Allocator::MmapFile);
    meta.shared_mapped_bytes = mapped(Allocator::MmapShared);
}

#[cfg(test)]
mod tests {
    use super::*;
    use memlens_format::Allocator;
    use memlens_format::capture::{Change, Slice};

    fn process(pid: u32, parent_pid: u32, peak_bytes: u64) -> Process {
        Process { pid, parent_pid, command: vec!["worker".to_owned(), pid.to_string()], peak_bytes, rss_peak_bytes: 7 }
    }

    fn capture() -> Capture {
        let site = |process| Site {
            process,
            node: None,
            allocator: Allocator::Malloc,
            allocations: 0,
            allocated_bytes: 0,
            live_count: 0,
            live_bytes: 0,
            peak_count: 0,
            peak_bytes: 0,
            temporary_count: 0,
            temporary_bytes: 0,
        };
        let change = |site, live_bytes| Change {
            site: SiteId(site),
            allocations: 1,
            allocated_bytes: 9,
            live_count: 1,
            live_bytes,
        };
        Capture {
            processes: vec![process(1, 0, 50), process(2, 1, 60), process(3, 2, 70)],
            sites: vec![site(0), site(1), site(2)],
            slices: vec![
                Slice { time_ns: 5, changes: vec![change(0, 40), change(2, 30)] },
                Slice { time_ns: 9, changes: vec![change(1, 45), change(2, 40)] },
            ],
            ..Capture::default()
        }
    }

    #[test]
    fn one_process_has_its_own_exact_peak() {
        let one = select_processes(capture(), |process| ProcessPattern::new("2").matches(process));
        assert_eq!((one.meta.peak_bytes, one.meta.peak_time_ns, one.meta.rss_peak_bytes), (60, 9, 7));
        assert_eq!(one.sites.iter().map(|site| site.process).collect::<Vec<_>>(), [0]);
        assert_eq!(one.slices[1].changes[0].site, SiteId(0));
        assert!(one.slices[0].changes.is_empty());
    }

    #[test]
    fn several_have_the_peak_of_their_sum() {
        let two = select_processes(capture(), |process| process.pid != 1);
        assert_eq!((two.meta.peak_bytes, two.meta.peak_time_ns, two.meta.rss_peak_bytes), (115, 9, 0));
        let all = select_processes(capture(), |process| ProcessPattern::new("worker").matches(process));
        assert_eq!(all, capture());
    }

    #[test]
    fn children_stand_under_their_latest_parent() {
        let pids = [(1, 0), (2, 1), (3, 1), (4, 2), (2, 3), (5, 2), (9, 8)];
        let processes: Vec<Process> = pids.map(|(pid, parent)| process(pid, parent, 0)).to_vec();
        let tree: Vec<(usize, u32)> =
            family_tree(&processes).iter().map(|(depth, process)| (*depth, process.pid)).collect();
        assert_eq!(tree, [(0, 1), (1, 2), (2, 4), (1, 3), (2, 2), (3, 5), (0, 9)]);
    }
}
