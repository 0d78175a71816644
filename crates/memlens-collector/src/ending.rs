//! The end of a recording: the parts become one capture.
use crate::assembly::Assembler;
use crate::session::Closed;
use crate::slice_log::SliceLog;
use crate::timeline::Timeline;
use memlens_format::capture::{Capture, Meta, Process, Region};

/// The parts.
pub struct Ending {
    /// With what is known from elsewhere.
    pub meta: Meta,
    /// The process that was started.
    pub root_pid: u32,
    /// All sessions, by their index.
    pub closed: Vec<Closed>,
    /// Their tables ([`tables`]).
    pub tables: Capture,
    /// The whole program over time.
    pub timeline: Timeline,
}

/// A capture that has nothing but the tables, of all sessions together.
pub fn tables(closed: &[Closed], root_pid: u32, assembler: Assembler, slices: SliceLog) -> Capture {
    let mut process_of_session = vec![None; closed.len()];
    for (process, session) in (0..).zip(order_of_processes(closed, root_pid)) {
        process_of_session[session] = Some(process);
    }
    assembler.finish(slices.into_slices(), &process_of_session)
}

/// Puts the parts together.
pub fn assemble(ending: Ending) -> Capture {
    let mut timeline = ending.timeline;
    let order = order_of_processes(&ending.closed, ending.root_pid);
    let kept: Vec<&Closed> = order.iter().map(|&session| &ending.closed[session]).collect();
    let mut meta = ending.meta;
    add_to_meta(&mut meta, &kept);
    place_peak(&mut meta, &kept, &mut timeline);
    Capture {
        processes: processes(&kept, ending.root_pid, &meta),
        meta,
        timeline: timeline.into_points(),
        regions: regions(&kept),
        ..ending.tables
    }
}

/// The sessions that become processes of the capture: first the root's last image, then the others as they came. Images
/// without Python that executed another program (a shell that starts an interpreter) are left out.
fn order_of_processes(closed: &[Closed], root_pid: u32) -> Vec<usize> {
    let root = closed.iter().rposition(|session| session.process.pid == root_pid);
    let is_kept = |&index: &usize| {
        let session = &closed[index];
        Some(index) != root && !(session.is_replaced && session.python_version == 0)
    };
    root.into_iter().chain((0..closed.len()).filter(is_kept)).collect()
}

/// The processes; if none was recorded, the root by itself.
fn processes(kept: &[&Closed], root_pid: u32, meta: &Meta) -> Vec<Process> {
    if kept.is_empty() {
        return vec![Process {
            pid: root_pid,
            parent_pid: std::process::id(),
            command: meta.command.clone(),
            peak_bytes: 0,
            rss_peak_bytes: meta.rss_peak_bytes,
        }];
    }
    kept.iter().map(|session| session.process.clone()).collect()
}

/// What libraries mapped by themselves, each process its own.
fn regions(kept: &[&Closed]) -> Vec<Region> {
    let of_process = |(process, session): (u32, &&Closed)| {
        session.regions.clone().into_iter().map(move |region| Region { process, ..region }).collect::<Vec<Region>>()
    };
    (0..).zip(kept).flat_map(of_process).collect()
}

fn add_to_meta(meta: &mut Meta, kept: &[&Closed]) {
    for session in kept {
        meta.file_mapped_bytes += session.file_mapped_bytes;
        meta.shared_mapped_bytes += session.shared_mapped_bytes;
        meta.overhead_ns += session.overhead_ns;
        meta.unseen.lost_events += session.unseen.lost_events;
        meta.unseen.lost_bytes += session.unseen.lost_bytes;
        meta.unseen.unreadable_stacks += session.unseen.unreadable_stacks;
        meta.unseen.unknown_releases += session.unseen.unknown_releases;
        meta.unseen.unrecorded_processes += session.unseen.unrecorded_processes;
        if meta.incomplete_reason.is_empty() && !session.incomplete_reason.is_empty() {
            meta.incomplete_reason = format!("process {}: {}", session.process.pid, session.incomplete_reason);
        }
    }
    if kept.is_empty() {
        meta.incomplete_reason = "the program never announced itself: nothing could be recorded".to_owned();
    }
    meta.complete = meta.incomplete_reason.is_empty();
    if let Some(root) = kept.first() {
        meta.python_version = version_text(root.python_version);
    }
}

/// The peak of one process is exact. Of several it is what the ticks saw of their sum, and no less than the largest exact
/// one: each process' own figures are exact, but their peaks fall on different moments.
fn place_peak(meta: &mut Meta, kept: &[&Closed], timeline: &mut Timeline) {
    if let Some(session) = kept.iter().max_by_key(|session| session.process.peak_bytes) {
        meta.peak_bytes = session.process.peak_bytes;
        meta.peak_time_ns = session.peak_time_ns;
    }
    timeline.raise(meta.peak_time_ns, meta.peak_bytes);
    if let (Some(point), 2..) = (timeline.highest(), kept.len()) {
        meta.peak_bytes = point.live_bytes;
        meta.peak_time_ns = point.time_ns;
    }
    let largest = kept.iter().map(|session| session.process.rss_peak_bytes).max().unwrap_or(0);
    meta.rss_peak_bytes = timeline.resident_peak().max(largest);
    let is_alone = kept.len() < 2;
    meta.pss_peak_bytes = if is_alone { meta.rss_peak_bytes } else { timeline.proportional_peak().max(largest) };
}

/// `PY_VERSION_HEX` as `sys.version` begins, such as "3.12.1" or "3.14.0rc2"; empty for 0.
pub fn version_text(version: u32) -> String {
    if version == 0 {
        return String::new();
    }
    let [major, minor, micro, release] = version.to_be_bytes();
    let serial = release & 0x0f;
    match release >> 4 {
        0x0a => format!("{major}.{minor}.{micro}a{serial}"),
        0x0b => format!("{major}.{minor}.{micro}b{serial}"),
        0x0c => format!("{major}.{minor}.{micro}rc{serial}"),
        _ => format!("{major}.{minor}.{micro}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_interpreter_writes_them() {
        assert_eq!(version_text(0x030c_01f0), "3.12.1");
        assert_eq!(version_text(0x030e_00c2), "3.14.0rc2");
        assert_eq!(version_text(0), "");
    }
}
