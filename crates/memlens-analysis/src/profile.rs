//! A capture with its tables in order.
use crate::origin::Origin;
use crate::selection::{family_tree, select_processes};
use crate::walk::Callees;
use foldhash::fast::RandomState;
use memlens_format::Allocator;
use memlens_format::capture::{
    Capture, Change, Frame, Meta, Node, NodeId, Point, Process, Region, Release, Site, SiteId, Slice,
};
use std::collections::HashMap;
use std::hash::Hash;

/// Index into [`Profile::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);
/// Index into [`Profile::functions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u32);
/// Index into [`Profile::lines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u32);

/// A source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute path, or a name in angle brackets.
    pub path: String,
    /// Whose code it is.
    pub origin: Origin,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Qualified name.
    pub name: String,
    /// Where it stands.
    pub file: FileId,
    /// Its first line.
    pub line: u32,
}

/// A line of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function.
    pub function: FunctionId,
    /// The line, 0 if there is none.
    pub line: u32,
}

/// A place in the call tree, which all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProfileNode {
    /// The caller, always a smaller index; `None` for an outermost frame.
    pub parent: Option<NodeId>,
    /// The line.
    pub line: LineId,
}

/// A stack plus the allocator, over all processes, as it stood at the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSite {
    /// The innermost frame.
    pub node: Option<NodeId>,
    /// What was asked.
    pub allocator: Allocator,
    /// Bytes live.
    pub bytes: u64,
    /// Blocks live.
    pub count: u64,
}

/// A capture with its tables in order: each file, function, line, stack and site once.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    meta: Meta,
    processes: Vec<Process>,
    recorded_processes: usize,
    files: Vec<File>,
    functions: Vec<Function>,
    lines: Vec<Line>,
    nodes: Vec<ProfileNode>,
    sites: Vec<Site>,
    releases: Vec<Release>,
    slices: Vec<Slice>,
    timeline: Vec<Point>,
    regions: Vec<Region>,
}

/// Frames of a very deep stack that a [`BriefStack`] keeps: the innermost.
pub const INNER_FRAMES: usize = 192;
/// And the outermost.
pub const OUTER_FRAMES: usize = 64;

/// A stack of at most [`INNER_FRAMES`] + [`OUTER_FRAMES`] lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BriefStack {
    /// The lines, innermost first.
    pub lines: Vec<LineId>,
    /// How many are left out behind the first [`INNER_FRAMES`].
    pub left_out: usize,
}

impl Profile {
    /// Brings a capture into order.
    ///
    /// # Panics
    ///
    /// If an id in the capture is out of range, which no decoded capture's is.
    pub fn new(capture: Capture) -> Self {
        let mut names = Names::new(&capture.strings, &capture.meta);
        let lines_of_frames: Vec<LineId> = capture.frames.iter().map(|frame| names.line(frame)).collect();
        let (nodes, node_ids) = merge_nodes(&capture.nodes, &lines_of_frames);
        let renumber = |node: Option<NodeId>| node.map(|node| node_ids[node.0 as usize]);
        let (sites, site_ids) = merge_sites(capture.sites, renumber);
        Self {
            files: names.files.rows,
            functions: names.functions.rows,
            lines: names.lines.rows,
            nodes,
            sites,
            releases: merge_releases(capture.releases, renumber),
            slices: capture.slices.into_iter().map(|slice| renumber_slice(slice, &site_ids)).collect(),
            meta: capture.meta,
            recorded_processes: capture.processes.len(),
            processes: capture.processes,
            timeline: capture.timeline,
            regions: capture.regions,
        }
    }

    /// Brings the part of a capture into order that belongs to some processes: see [`select_processes`].
    ///
    /// # Panics
    ///
    /// As [`Self::new`].
    pub fn of_processes(capture: Capture, is_kept: impl Fn(&Process) -> bool) -> Self {
        let recorded_processes = capture.processes.len();
        Self { recorded_processes, ..Self::new(select_processes(capture, is_kept)) }
    }

    /// What was recorded, how, and what was not seen.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The processes; the first is the one that `run` started, unless only some were picked.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// How many processes were recorded, picked or not.
    pub fn recorded_processes(&self) -> usize {
        self.recorded_processes
    }

    /// The processes as a family tree: children under their parents, each with its depth; brothers in order of their recording.
    /// A process whose parent was not recorded (or not picked) stands at depth 0.
    pub fn process_tree(&self) -> Vec<(usize, &Process)> {
        family_tree(&self.processes)
    }

    /// The files.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The functions.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The call tree, callers before callees.
    pub fn nodes(&self) -> &[ProfileNode] {
        &self.nodes
    }

    /// The sites, each process its own.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// What was released where, each process its own.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// Changes of the sites over time.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// The whole program over time.
    pub fn timeline(&self) -> &[Point] {
        &self.timeline
    }

    /// What libraries mapped by themselves, each process its own.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// A line's function.
    pub fn function(&self, line: LineId) -> &Function {
        &self.functions[self.lines[line.0 as usize].function.0 as usize]
    }

    /// A line's file.
    pub fn file(&self, line: LineId) -> &File {
        &self.files[self.function(line).file.0 as usize]
    }

    /// A line's number.
    pub fn line_number(&self, line: LineId) -> u32 {
        self.lines[line.0 as usize].line
    }

    /// The lines of a stack, innermost first.
    pub fn stack(&self, node: Option<NodeId>) -> impl Iterator<Item = LineId> + '_ {
        let mut next = node;
        std::iter::from_fn(move || {
            let node = &self.nodes[next?.0 as usize];
            next = node.parent;
            Some(node.line)
        })
    }

    /// The lines of a stack, innermost first, without the middle of one that is very deep. Written out in full, the stacks of a recursion
    /// 15,000 deep that allocates at each level are gigabytes.
    pub fn brief_stack(&self, node: Option<NodeId>) -> BriefStack {
        let mut lines: Vec<LineId> = self.stack(node).take(INNER_FRAMES + OUTER_FRAMES + 1).collect();
        if lines.len() <= INNER_FRAMES + OUTER_FRAMES {
            return BriefStack { lines, left_out: 0 };
        }
        lines.clear();
        lines.extend(self.stack(node));
        let left_out = lines.len() - INNER_FRAMES - OUTER_FRAMES;
        lines.drain(INNER_FRAMES..INNER_FRAMES + left_out);
        BriefStack { lines, left_out }
    }

    /// The innermost line of a stack that is in the user's own code.
    pub fn own_line(&self, node: Option<NodeId>) -> Option<LineId> {
        self.stack(node).find(|line| self.file(*line).origin == Origin::Own)
    }

    /// Sites live at the peak, over all processes, largest first. `heap` tells those of the heap from file-backed mappings.
    pub fn sites_at_peak(&self, heap: bool) -> Vec<StackSite> {
        let mut merged: Vec<StackSite> = self
            .sites
            .iter()
            .filter(|site| site.allocator.is_heap() == heap && (site.peak_bytes > 0 || site.peak_count > 0))
            .map(|site| StackSite {
                node: site.node,
                allocator: site.allocator,
                bytes: site.peak_bytes,
                count: site.peak_count,
            })
            .collect();
        if self.processes.len() > 1 {
            merged.sort_unstable_by_key(|site| (site.node, site.allocator));
            merged.dedup_by(|next, kept| {
                let same = (next.node, next.allocator) == (kept.node, kept.allocator);
                if same {
                    kept.bytes = kept.bytes.saturating_add(next.bytes);
                    kept.count = kept.count.saturating_add(next.count);
                }
                same
            });
        }
        merged.sort_unstable_by_key(|site| (std::cmp::Reverse(site.bytes), site.node, site.allocator));
        merged
    }

    pub(crate) fn callees(&self) -> Callees {
        Callees::new(&self.nodes)
    }
}

/// Rows that are each stored once.
struct Table<Key, Row> {
    rows: Vec<Row>,
    /// Seeded at random, for a capture may be anybody's; the standard library's hash took a third of the time of `memlens summary`.
    ids: HashMap<Key, u32, RandomState>,
}

impl<Key: Eq + Hash, Row> Table<Key, Row> {
    fn with_capacity(rows: usize) -> Self {
        Self { rows: Vec::new(), ids: HashMap::with_capacity_and_hasher(rows, RandomState::default()) }
    }

    fn intern(&mut self, key: Key, row: impl FnOnce() -> Row) -> u32 {
        *self.ids.entry(key).or_insert_with(|| {
            self.rows.push(row());
            (self.rows.len() - 1) as u32
        })
    }
}

/// Files, functions and lines by name: two processes, or a program that compiles the same text twice, may have brought the
/// same one several times.
struct Names<'c> {
    strings: &'c [String],
    meta: &'c Meta,
    files: Table<&'c str, File>,
    functions: Table<(&'c str, FileId, u32), Function>,
    lines: Table<Line, Line>,
}

impl<'c> Names<'c> {
    fn new(strings: &'c [String], meta: &'c Meta) -> Self {
        Self {
            strings,
            meta,
            files: Table::with_capacity(0),
            functions: Table::with_capacity(0),
            lines: Table::with_capacity(0),
        }
    }

    fn line(&mut self, frame: &Frame) -> LineId {
        let path = self.strings[frame.file.0 as usize].as_str();
        let name = self.strings[frame.function.0 as usize].as_str();
        let meta = self.meta;
        let file = FileId(self.files.intern(path, || file(path, meta)));
        let function = FunctionId(self.functions.intern((name, file, frame.first_line), || Function {
            name: name.to_owned(),
            file,
            line: frame.first_line,
        }));
        let line = Line { function, line: frame.line };
        LineId(self.lines.intern(line, || line))
    }
}

fn file(path: &str, meta: &Meta) -> File {
    let is_absolute = path.is_empty() || path.starts_with(['/', '<']) || meta.working_directory.is_empty();
    let path = if is_absolute {
        path.to_owned()
    } else {
        let folder = meta.working_directory.trim_end_matches('/');
        format!("{folder}/{}", path.trim_start_matches("./"))
    };
    File { origin: Origin::of(&path, &meta.command), path }
}

/// One node for each stack of lines, and what each node of the capture became.
fn merge_nodes(nodes: &[Node], lines_of_frames: &[LineId]) -> (Vec<ProfileNode>, Vec<NodeId>) {
    let mut merged = Table::with_capacity(nodes.len());
    let mut ids: Vec<NodeId> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let parent = node.parent.map(|parent| ids[parent.0 as usize]);
        let row = ProfileNode { parent, line: lines_of_frames[node.frame.0 as usize] };
        ids.push(NodeId(merged.intern(row, || row)));
    }
    (merged.rows, ids)
}

/// One site for each process, stack and allocator, and what each site of the capture became.
fn merge_sites(sites: Vec<Site>, renumber: impl Fn(Option<NodeId>) -> Option<NodeId>) -> (Vec<Site>, Vec<SiteId>) {
    let mut merged = Table::with_capacity(sites.len());
    let mut ids = Vec::with_capacity(sites.len());
    for mut site in sites {
        site.node = renumber(site.node);
        let rows = merged.rows.len();
        let id = merged.intern((site.process, site.node, site.allocator), || site);
        if merged.rows.len() == rows {
            add_site(&mut merged.rows[id as usize], &site);
        }
        ids.push(SiteId(id));
    }
    (merged.rows, ids)
}

fn add_site(site: &mut Site, other: &Site) {
    let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
    add(&mut site.allocations, other.allocations);
    add(&mut site.allocated_bytes, other.allocated_bytes);
    add(&mut site.live_count, other.live_count);
    add(&mut site.live_bytes, other.live_bytes);
    add(&mut site.peak_count, other.peak_count);
    add(&mut site.peak_bytes, other.peak_bytes);
    add(&mut site.temporary_count, other.temporary_count);
    add(&mut site.temporary_bytes, other.temporary_bytes);
}

fn merge_releases(releases: Vec<Release>, renumber: impl Fn(Option<NodeId>) -> Option<NodeId>) -> Vec<Release> {
    let mut merged = Table::with_capacity(releases.len());
    for mut release in releases {
        release.node = renumber(release.node);
        let rows = merged.rows.len();
        let id = merged.intern((release.process, release.node, release.is_file), || release);
        if merged.rows.len() == rows {
            let sum = &mut merged.rows[id as usize];
            sum.count = sum.count.saturating_add(release.count);
            sum.bytes = sum.bytes.saturating_add(release.bytes);
        }
    }
    merged.rows
}

/// A slice's changes by the new site ids, each site once and in order.
fn renumber_slice(mut slice: Slice, site_ids: &[SiteId]) -> Slice {
    for change in &mut slice.changes {
        change.site = site_ids[change.site.0 as usize];
    }
    if !slice.changes.is_sorted_by(|one, next| one.site < next.site) {
        slice.changes.sort_by_key(|change| change.site);
        slice.changes.dedup_by(|next, kept| {
            let same = next.site == kept.site;
            if same {
                add_change(kept, next);
            }
            same
        });
    }
    slice
}

fn add_change(change: &mut Change, other: &Change) {
    change.allocations = change.allocations.saturating_add(other.allocations);
    change.allocated_bytes = change.allocated_bytes.saturating_add(other.allocated_bytes);
    change.live_count = change.live_count.saturating_add(other.live_count);
    change.live_bytes = change.live_bytes.saturating_add(other.live_bytes);
}
