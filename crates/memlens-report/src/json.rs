//! JSON for other programs. The schemas are stable: a field is added, never renamed.
//!
//! Integers are bytes, times are seconds, `stack` is innermost frame first. Tables are written row by row as they are
//! computed, for the stacks of all sites, spelled out, are far larger than the profile. `memlens.tree/1` and
//! `memlens.profile/1` are flat lists whose rows refer to each other by index, since a call tree may be deeper than
//! parsers like their nesting.
use crate::Sources;
use memlens_analysis::{
    BriefStack, CallTree, Figures, FileLines, FunctionLines, INNER_FRAMES, LibraryShare, LineFigures, LineId, Lines,
    Meta, Profile, Shortage, Site, StackSite, Summary,
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::io::{self, Write};

/// A list that is computed while it is written.
pub(crate) struct Rows<F>(pub(crate) F);

impl<F, I> Serialize for Rows<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Writes `memlens.summary/1`.
pub fn write_summary(profile: &Profile, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let sites = Rows(|| summary.sites.iter().map(|site| site_row(profile, site)));
    write_object(out, &summary_fields(profile, summary), &[("sites", &|out| write_value(out, &sites))])
}

/// Writes `memlens.lines/1`.
pub fn write_lines(profile: &Profile, lines: &Lines, sources: &dyn Sources, out: &mut dyn Write) -> io::Result<()> {
    let files = Rows(|| lines.files.iter().map(|file| file_row(profile, file, sources)));
    let fields = json!({ "schema": "memlens.lines/1" });
    let more = json!({ "total": figures(&lines.total), "elsewhere": figures(&lines.elsewhere) });
    write_object(
        out,
        &fields,
        &[
            ("files", &|out| write_value(out, &files)),
            ("total", &|out| write_value(out, &more["total"])),
            ("elsewhere", &|out| write_value(out, &more["elsewhere"])),
        ],
    )
}

/// Writes `memlens.tree/1`: `nodes`, callers before callees; `parent` is an index into `nodes` or null. `bytes` and `count`
/// include callees, `self_bytes` does not.
pub fn write_tree(profile: &Profile, tree: &CallTree, out: &mut dyn Write) -> io::Result<()> {
    let node_row = |node: &memlens_analysis::TreeNode| {
        json!({
            "parent": node.parent,
            "function": profile.function(node.line).name,
            "file": profile.file(node.line).path,
            "line": profile.line_number(node.line),
            "bytes": node.bytes,
            "count": node.count,
            "self_bytes": node.own_bytes,
        })
    };
    let nodes = Rows(|| tree.nodes.iter().map(node_row));
    let fields = json!({
        "schema": "memlens.tree/1",
        "bytes": tree.bytes,
        "time_s": seconds(profile.meta().peak_time_ns),
        "no_frame_bytes": tree.outside_bytes,
    });
    write_object(out, &fields, &[("nodes", &|out| write_value(out, &nodes))])
}

/// Writes `memlens.profile/1`: everything. The fields of the summary (its `sites` are all sites here, live or not), then
/// `files`, `functions`, `lines` (of the stacks), `nodes`, `sites`, `releases`, `timeline` and `slices`, which refer to
/// each other by index. A change in a slice is `[site, allocations, allocated_bytes, live_count, live_bytes]`.
pub fn write_profile(profile: &Profile, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let mut fields = summary_fields(profile, summary);
    fields["schema"] = json!("memlens.profile/1");
    let own = |file: &memlens_analysis::File| file.origin == memlens_analysis::Origin::Own;
    let files = Rows(|| profile.files().iter().map(|file| json!({ "path": file.path, "own": own(file) })));
    let functions = Rows(|| {
        profile
            .functions()
            .iter()
            .map(|function| json!({ "name": function.name, "file": function.file.0, "line": function.line }))
    });
    let lines = Rows(|| profile.lines().iter().map(|line| json!({ "function": line.function.0, "line": line.line })));
    let nodes = Rows(|| {
        profile.nodes().iter().map(|node| json!({ "parent": node.parent.map(|parent| parent.0), "line": node.line.0 }))
    });
    let sites = Rows(|| profile.sites().iter().map(full_site_row));
    let releases = Rows(|| profile.releases().iter().map(release_row));
    let timeline = Rows(|| profile.timeline().iter().map(point_row));
    let slices = Rows(|| profile.slices().iter().map(slice_row));
    write_object(
        out,
        &fields,
        &[
            ("files", &|out| write_value(out, &files)),
            ("functions", &|out| write_value(out, &functions)),
            ("lines", &|out| write_value(out, &lines)),
            ("nodes", &|out| write_value(out, &nodes)),
            ("sites", &|out| write_value(out, &sites)),
            ("releases", &|out| write_value(out, &releases)),
            ("timeline", &|out| write_value(out, &timeline)),
            ("slices", &|out| write_value(out, &slices)),
        ],
    )
}

type Field<'f> = (&'f str, &'f dyn Fn(&mut dyn Write) -> io::Result<()>);

/// An object: small fields first, then those that are written as they are computed.
fn write_object(out: &mut dyn Write, fields: &Value, large: &[Field<'_>]) -> io::Result<()> {
    let small = serde_json::to_string(fields)?;
    write!(out, "{}", small.strip_suffix('}').unwrap_or(&small))?;
    for (name, write_field) in large {
        write!(out, ",\"{name}\":")?;
        write_field(out)?;
    }
    writeln!(out, "}}")
}

fn write_value(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    Ok(serde_json::to_writer(out, value)?)
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn summary_fields(profile: &Profile, summary: &Summary) -> Value {
    let meta = profile.meta();
    json!({
        "schema": "memlens.summary/1",
        "command": meta.command,
        "python": meta.python_version,
        "mode": "exact",
        "duration_s": seconds(meta.duration_ns),
        "exit": { "code": meta.exit.code, "signal": meta.exit.signal, "oom": meta.exit.out_of_memory },
        "out_of_memory": meta.shortage.as_ref().map(shortage),
        "complete": meta.complete,
        "incomplete_reason": meta.incomplete_reason,
        "peak": { "bytes": summary.peak_bytes, "time_s": seconds(summary.peak_time_ns) },
        "end": { "bytes": summary.end_bytes },
        "rss_peak_bytes": meta.rss_peak_bytes,
        "pss_peak_bytes": known(meta.pss_peak_bytes),
        "recorded_processes": profile.recorded_processes(),
        "file_mapped_bytes": summary.file_mapped_bytes,
        "shared_mapped_bytes": summary.shared_mapped_bytes,
        "allocations": summary.allocations,
        "frees": summary.frees,
        "allocated_bytes": summary.allocated_bytes,
        "freed_bytes": summary.freed_bytes,
        "unseen": unseen(meta),
        "regions": summary.libraries.iter().map(region).collect::<Vec<Value>>(),
        "processes": profile.processes().iter().map(process_row).collect::<Vec<Value>>(),
    })
}

/// A figure that is 0 where nobody knows it.
fn known(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

fn shortage(shortage: &Shortage) -> Value {
    let frame =
        |(function, file, line): &(String, String, u32)| json!({ "function": function, "file": file, "line": line });
    json!({
        "limit_bytes": shortage.limit_bytes,
        "limit": shortage.bound,
        "killed_processes": shortage.killed,
        "refused": shortage.refused,
        "refused_bytes": shortage.refused_bytes,
        "time_s": seconds(shortage.time_ns),
        "refused_stack": shortage.refused_stack.iter().map(frame).collect::<Vec<Value>>(),
    })
}

fn region(share: &LibraryShare) -> Value {
    json!({
        "library": share.library,
        "mapped_bytes": share.mapped_bytes,
        "resident_bytes": share.resident_bytes,
    })
}

fn unseen(meta: &Meta) -> Value {
    json!({
        "lost_events": meta.unseen.lost_events,
        "lost_bytes": meta.unseen.lost_bytes,
        "unreadable_stacks": meta.unseen.unreadable_stacks,
        "unknown_releases": meta.unseen.unknown_releases,
        "unrecorded_processes": meta.unseen.unrecorded_processes,
    })
}

fn process_row(process: &memlens_analysis::Process) -> Value {
    json!({
        "pid": process.pid,
        "ppid": process.parent_pid,
        "command": process.command,
        "peak_bytes": process.peak_bytes,
        "rss_peak_bytes": process.rss_peak_bytes,
    })
}

#[derive(Serialize)]
struct FrameRow<'p> {
    function: &'p str,
    file: &'p str,
    line: u32,
}

#[derive(Serialize)]
struct SiteRow<Stack: Serialize> {
    bytes: u64,
    count: u64,
    allocator: &'static str,
    stack: Stack,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut>,
}

/// Frames that are missing from a very deep stack.
#[derive(Serialize)]
struct LeftOut {
    after: usize,
    frames: usize,
}

fn site_row<'p>(profile: &'p Profile, site: &'p StackSite) -> SiteRow<impl Serialize + 'p> {
    let frame = |line: LineId| FrameRow {
        function: &profile.function(line).name,
        file: &profile.file(line).path,
        line: profile.line_number(line),
    };
    let BriefStack { lines, left_out } = profile.brief_stack(site.node);
    SiteRow {
        bytes: site.bytes,
        count: site.count,
        allocator: site.allocator.name(),
        stack: Rows(move || lines.clone().into_iter().map(frame)),
        left_out: (left_out > 0).then_some(LeftOut { after: INNER_FRAMES, frames: left_out }),
    }
}

fn figures(figures: &Figures) -> Value {
    json!({
        "allocated_bytes": figures.allocated_bytes,
        "freed_bytes": figures.freed_bytes,
        "net_bytes": figures.net_bytes(),
        "peak_bytes": figures.peak_bytes,
        "allocations": figures.allocations,
        "frees": figures.frees,
        "temporary_bytes": figures.temporary_bytes,
    })
}

fn file_row(profile: &Profile, file: &FileLines, sources: &dyn Sources) -> Value {
    let path = &profile.files()[file.file.0 as usize].path;
    let functions: Vec<Value> =
        file.functions.iter().map(|function| function_row(profile, path, function, sources)).collect();
    json!({ "file": path, "functions": functions })
}

fn function_row(profile: &Profile, path: &str, function: &FunctionLines, sources: &dyn Sources) -> Value {
    let lines: Vec<Value> = function.lines.iter().map(|line| line_row(path, line, sources)).collect();
    let function = &profile.functions()[function.function.0 as usize];
    json!({ "function": function.name, "line": function.line, "lines": lines })
}

fn line_row(path: &str, line: &LineFigures, sources: &dyn Sources) -> Value {
    let mut row = json!({ "line": line.line, "source": sources.line(path, line.line) });
    if let (Value::Object(row), Value::Object(inclusive)) = (&mut row, figures(&line.inclusive)) {
        row.extend(inclusive);
    }
    row["self"] = figures(&line.own);
    row
}

fn full_site_row(site: &Site) -> Value {
    json!({
        "process": site.process,
        "node": site.node.map(|node| node.0),
        "allocator": site.allocator.name(),
        "allocations": site.allocations,
        "allocated_bytes": site.allocated_bytes,
        "live_count": site.live_count,
        "live_bytes": site.live_bytes,
        "peak_count": site.peak_count,
        "peak_bytes": site.peak_bytes,
        "temporary_count": site.temporary_count,
        "temporary_bytes": site.temporary_bytes,
    })
}

fn release_row(release: &memlens_analysis::Release) -> Value {
    json!({
        "process": release.process,
        "node": release.node.map(|node| node.0),
        "count": release.count,
        "bytes": release.bytes,
        "is_file": release.is_file,
    })
}

fn point_row(point: &memlens_analysis::Point) -> Value {
    json!({ "time_s": seconds(point.time_ns), "live_bytes": point.live_bytes, "rss_bytes": point.rss_bytes, "pss_bytes": known(point.pss_bytes) })
}

fn slice_row(slice: &memlens_analysis::Slice) -> Value {
    let changes: Vec<_> = slice
        .changes
        .iter()
        .map(|change| (change.site.0, change.allocations, change.allocated_bytes, change.live_count, change.live_bytes))
        .collect();
    json!({ "time_s": seconds(slice.time_ns), "changes": changes })
}
