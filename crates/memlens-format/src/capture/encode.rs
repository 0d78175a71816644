//! A capture's sections to bytes.
//!
//! All integers have a variable length (module `varint`). A table is a row count followed by its columns, one after the other, for equal things
//! beside each other compress well. The columns, in this order (`Δ` is the difference from the row above, folded if it
//! may be negative; `id?` is 0 for none, otherwise the id plus 1):
//!
//! ```text
//! meta       the fields of Meta in the order of `encode_meta`; a bool is a byte, an optional number a byte and it
//! processes  by row: pid, parent pid, command, peak bytes, rss peak bytes
//! strings    by row: length, UTF-8
//! frames     function · file Δ · line · line minus first line, folded
//! nodes      own index minus parent (0: none) · frame Δ
//! sites      process Δ · node id? Δ · allocator · allocations · allocated bytes · live count · live bytes ·
//!            peak count · peak bytes · temporary count · temporary bytes
//! releases   process Δ · node id? Δ · is file · count · bytes
//! timeline   time Δ · live bytes Δ · rss bytes Δ
//! slices     time Δ · changes in it ‖ total of changes ‖ site Δ (from 0 in each slice) · allocations ·
//!            allocated bytes · allocations minus live count, folded · allocated bytes minus live bytes, folded
//! proportional  for each point of the timeline, or for none if it is not known: pss bytes minus rss bytes, folded ‖ pss peak bytes
//! regions    by row: process, library, mapped bytes, resident bytes ‖ bytes of shared memory
//! shortage   a byte, 1 if there is one; the fields of Shortage in their order, frames by row: function, file, line
//! ```
//! Differences wrap around, so that every capture, however odd, comes back as it was.
use super::varint::PayloadWriter;
use super::{Capture, Frame, Meta, Node, NodeId, Point, Process, Region, Release, Section, Shortage, Site, Slice};
use alloc::string::String;
use alloc::vec::Vec;

/// The payload of one section, not compressed.
pub fn encode_section(section: Section, capture: &Capture) -> Vec<u8> {
    match section {
        Section::Meta => encode_meta(&capture.meta),
        Section::Processes => encode_processes(&capture.processes),
        Section::Strings => encode_strings(&capture.strings),
        Section::Frames => encode_frames(&capture.frames),
        Section::Nodes => encode_nodes(&capture.nodes),
        Section::Sites => encode_sites(&capture.sites),
        Section::Releases => encode_releases(&capture.releases),
        Section::Timeline => encode_timeline(&capture.timeline),
        Section::Slices => encode_slices(&capture.slices),
        Section::Proportional => encode_proportional(&capture.timeline, capture.meta.pss_peak_bytes),
        Section::Shortage => encode_shortage(capture.meta.shortage.as_ref()),
        Section::Regions => encode_regions(&capture.regions, capture.meta.shared_mapped_bytes),
        Section::End => Vec::new(),
    }
}

fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut out = PayloadWriter::default();
    out.strings(&meta.command);
    out.string(&meta.interpreter);
    out.string(&meta.python_version);
    out.string(&meta.memlens_version);
    out.string(&meta.working_directory);
    out.u64(meta.started_unix_ns);
    out.u64(meta.duration_ns);
    for number in [meta.exit.code, meta.exit.signal] {
        out.byte(u8::from(number.is_some()));
        out.i64(i64::from(number.unwrap_or(0)));
    }
    out.byte(u8::from(meta.exit.out_of_memory));
    out.byte(u8::from(meta.complete));
    out.string(&meta.incomplete_reason);
    out.u64(meta.peak_bytes);
    out.u64(meta.peak_time_ns);
    out.u64(meta.rss_peak_bytes);
    out.u64(meta.file_mapped_bytes);
    let unseen = &meta.unseen;
    out.u64(unseen.lost_events);
    out.u64(unseen.lost_bytes);
    out.u64(unseen.unreadable_stacks);
    out.u64(unseen.unknown_releases);
    out.u64(unseen.unrecorded_processes);
    out.u64(meta.overhead_ns);
    out.finish()
}

/// A missing section says the same as one that holds none.
fn encode_shortage(shortage: Option<&Shortage>) -> Vec<u8> {
    let mut out = PayloadWriter::default();
    out.byte(u8::from(shortage.is_some()));
    if let Some(shortage) = shortage {
        out.string(&shortage.bound);
        for number in
            [shortage.limit_bytes, shortage.killed, shortage.refused, shortage.refused_bytes, shortage.time_ns]
        {
            out.u64(number);
        }
        out.count(shortage.refused_stack.len());
        for (function, file, line) in &shortage.refused_stack {
            out.string(function);
            out.string(file);
            out.u64(u64::from(*line));
        }
    }
    out.finish()
}

fn encode_regions(regions: &[Region], shared_mapped_bytes: u64) -> Vec<u8> {
    let mut out = PayloadWriter::default();
    out.count(regions.len());
    for region in regions {
        out.u64(u64::from(region.process));
        out.string(&region.library);
        out.u64(region.mapped_bytes);
        out.u64(region.resident_bytes.map_or(0, |bytes| bytes.saturating_add(1)));
    }
    out.u64(shared_mapped_bytes);
    out.finish()
}

fn encode_processes(processes: &[Process]) -> Vec<u8> {
    let mut out = PayloadWriter::default();
    out.count(processes.len());
    for process in processes {
        out.u64(u64::from(process.pid));
        out.u64(u64::from(process.parent_pid));
        out.strings(&process.command);
        out.u64(process.peak_bytes);
        out.u64(process.rss_peak_bytes);
    }
    out.finish()
}

fn encode_strings(strings: &[String]) -> Vec<u8> {
    let bytes: usize = strings.iter().map(|string| string.len() + 2).sum();
    let mut out = PayloadWriter::with_capacity(bytes + 10);
    out.strings(strings);
    out.finish()
}

fn encode_frames(frames: &[Frame]) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(frames.len() * 6 + 10);
    out.count(frames.len());
    for frame in frames {
        out.u64(u64::from(frame.function.0));
    }
    differences(&mut out, frames, |frame| u64::from(frame.file.0));
    for frame in frames {
        out.u64(u64::from(frame.line));
    }
    for frame in frames {
        out.i64(i64::from(frame.line) - i64::from(frame.first_line));
    }
    out.finish()
}

fn encode_nodes(nodes: &[Node]) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(nodes.len() * 5 + 10);
    out.count(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let distance = node.parent.map_or(0, |parent| (index as u64).wrapping_sub(u64::from(parent.0)));
        out.u64(distance);
    }
    differences(&mut out, nodes, |node| u64::from(node.frame.0));
    out.finish()
}

fn encode_sites(sites: &[Site]) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(sites.len() * 18 + 10);
    out.count(sites.len());
    differences(&mut out, sites, |site| u64::from(site.process));
    differences(&mut out, sites, |site| optional_node(site.node));
    for site in sites {
        out.byte(site.allocator as u8);
    }
    column(&mut out, sites, |site| site.allocations);
    column(&mut out, sites, |site| site.allocated_bytes);
    column(&mut out, sites, |site| site.live_count);
    column(&mut out, sites, |site| site.live_bytes);
    column(&mut out, sites, |site| site.peak_count);
    column(&mut out, sites, |site| site.peak_bytes);
    column(&mut out, sites, |site| site.temporary_count);
    column(&mut out, sites, |site| site.temporary_bytes);
    out.finish()
}

fn encode_releases(releases: &[Release]) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(releases.len() * 8 + 10);
    out.count(releases.len());
    differences(&mut out, releases, |release| u64::from(release.process));
    differences(&mut out, releases, |release| optional_node(release.node));
    for release in releases {
        out.byte(u8::from(release.is_file));
    }
    column(&mut out, releases, |release| release.count);
    column(&mut out, releases, |release| release.bytes);
    out.finish()
}

fn encode_timeline(timeline: &[Point]) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(timeline.len() * 8 + 10);
    out.count(timeline.len());
    differences(&mut out, timeline, |point| point.time_ns);
    differences(&mut out, timeline, |point| point.live_bytes);
    differences(&mut out, timeline, |point| point.rss_bytes);
    out.finish()
}

fn encode_proportional(timeline: &[Point], peak_bytes: u64) -> Vec<u8> {
    let mut out = PayloadWriter::with_capacity(timeline.len() * 2 + 10);
    let is_known = timeline.iter().any(|point| point.pss_bytes > 0);
    let points = if is_known { timeline } else { &[] };
    out.count(points.len());
    for point in points {
        out.i64(point.pss_bytes.wrapping_sub(point.rss_bytes) as i64);
    }
    out.u64(peak_bytes);
    out.finish()
}

fn encode_slices(slices: &[Slice]) -> Vec<u8> {
    let total: usize = slices.iter().map(|slice| slice.changes.len()).sum();
    let mut out = PayloadWriter::with_capacity(total * 8 + slices.len() * 8 + 20);
    out.count(slices.len());
    differences(&mut out, slices, |slice| slice.time_ns);
    column(&mut out, slices, |slice| slice.changes.len() as u64);
    out.count(total);
    let changes = || slices.iter().flat_map(|slice| &slice.changes);
    for slice in slices {
        let mut above = 0;
        for change in &slice.changes {
            out.u64(u64::from(change.site.0.wrapping_sub(above)));
            above = change.site.0;
        }
    }
    for change in changes() {
        out.u64(change.allocations);
    }
    for change in changes() {
        out.u64(change.allocated_bytes);
    }
    for change in changes() {
        out.i64((change.allocations as i64).wrapping_sub(change.live_count));
    }
    for change in changes() {
        out.i64((change.allocated_bytes as i64).wrapping_sub(change.live_bytes));
    }
    out.finish()
}

fn optional_node(node: Option<NodeId>) -> u64 {
    node.map_or(0, |node| u64::from(node.0) + 1)
}

fn column<Row>(out: &mut PayloadWriter, rows: &[Row], value: impl Fn(&Row) -> u64) {
    for row in rows {
        out.u64(value(row));
    }
}

fn differences<Row>(out: &mut PayloadWriter, rows: &[Row], value: impl Fn(&Row) -> u64) {
    let mut above = 0u64;
    for row in rows {
        let value = value(row);
        out.i64(value.wrapping_sub(above) as i64);
        above = value;
    }
}
