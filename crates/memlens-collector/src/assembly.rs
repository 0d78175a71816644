//! From the agents' tables to a capture's: frames, nodes, sites and releases, each once.
//!
//! Code objects that differ only in what a capture does not keep (a function defined anew) give equal frames: nodes with
//! the same caller, function, file and line become one, and with them their sites. Sites at which nothing happened are
//! left out. All of this is on the clock when a program ends, so every step is one pass over a table.
use crate::code_index::CodeIndex;
use crate::interner::Interner;
use crate::node_table::NodeTable;
use crate::peak::{Peak, SiteTotals, chunk_totals};
use crate::shared_view::SharedView;
use crate::slice_log::RawSlice;
use memlens_format::Allocator;
use memlens_format::capture::{Change, Frame, FrameId, Node, NodeId, Release, Site, SiteId, Slice};
use memlens_format::shared::{Lane, NODE_ROOT, NODES_PER_CHUNK, SITE_KIND_RELEASE_FILE, SITES_PER_CHUNK, is_release};
use rustc_hash::FxHashMap;
use std::sync::atomic::Ordering::Relaxed;

/// Stands for "no site" in [`Part::site_map`], and for "no node".
const NONE: u32 = u32::MAX;

/// Collects what the processes' tables hold. A process is known by the index of its session.
pub struct Assembler {
    strings: Interner<String>,
    frames: Interner<Frame>,
    nodes: NodeTable,
    parts: Vec<Part>,
}

/// What one session has by itself. Each has arrays of its own, of just their size: one array of all sessions' sites would be copied
/// each time that it grows, and take up to three times its size while processes come and go.
struct Part {
    session: u32,
    sites: Vec<Site>,
    releases: Vec<Release>,
    /// By the agent's number of a site, the index in `sites`, or [`NONE`].
    site_map: Vec<u32>,
}

/// The finished tables of a capture.
pub struct Tables {
    /// See [`memlens_format::capture::Capture::strings`].
    pub strings: Vec<String>,
    /// See [`memlens_format::capture::Capture::frames`].
    pub frames: Vec<Frame>,
    /// See [`memlens_format::capture::Capture::nodes`].
    pub nodes: Vec<Node>,
    /// See [`memlens_format::capture::Capture::sites`].
    pub sites: Vec<Site>,
    /// See [`memlens_format::capture::Capture::releases`].
    pub releases: Vec<Release>,
    /// See [`memlens_format::capture::Capture::slices`].
    pub slices: Vec<Slice>,
}

/// What became of a process' nodes.
struct NodeMap {
    /// By the agent's number of a node, the capture's; [`NONE`] for the root and for nodes that no site needs.
    nodes: Vec<u32>,
    /// By the capture's number, whether several nodes became this one (or may have).
    is_shared: Vec<bool>,
}

/// Finds the sites that become one. An agent's sites differ in node or kind, so only at shared nodes can there be any.
struct Slots<'a> {
    nodes: &'a NodeMap,
    by_key: FxHashMap<(u32, u32), usize>,
}

impl Slots<'_> {
    /// The index of the record for `node` and `kind`: `next` if it is yet to be made.
    fn find(&mut self, node: u32, kind: u32, next: usize) -> usize {
        if self.nodes.is_shared.get(node as usize) == Some(&false) {
            return next;
        }
        *self.by_key.entry((node, kind)).or_insert(next)
    }
}

/// A site or release of the shared tables at which something happened. Its figures are read twice rather than kept: there may be
/// hundreds of thousands, and new memory costs more than a second look.
struct RawSite {
    index: u32,
    node: u32,
    kind: u32,
}

impl Assembler {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { strings: Interner::new(), frames: Interner::new(), nodes: NodeTable::default(), parts: Vec::new() }
    }

    /// Adds all that `view` holds as of session `session`, with peak figures by `peak`. Returns how many references in the
    /// tables led nowhere; what they concern is counted at the root or left out.
    pub fn add(&mut self, session: u32, view: &SharedView, peak: Peak) -> u64 {
        let mut damage = 0;
        let raw_sites = read_sites(view, peak, &mut damage);
        let nodes = self.add_nodes(view, &raw_sites, &mut damage);
        self.parts.push(Part::new(session, view, peak, &raw_sites, &nodes));
        damage
    }

    /// Adds the nodes that `raw_sites` need.
    fn add_nodes(&mut self, view: &SharedView, raw_sites: &[RawSite], damage: &mut u64) -> NodeMap {
        let records = read_nodes(view, damage);
        let needed = needed_nodes(&records, raw_sites);
        let wanted = || (1..records.len()).filter(|&index| needed[index]);
        let wanted_count = wanted().count();
        let codes = CodeIndex::new(view, wanted().map(|index| records[index].code), &mut self.strings);
        let known = self.nodes.len();
        let is_first = known == 0;
        self.nodes.begin_process(wanted_count);
        let mut map = NodeMap { nodes: vec![NONE; records.len()], is_shared: vec![true; known] };
        map.is_shared.reserve(wanted_count);
        // Of this process' nodes, those that another of them may become one with: of a code object with a twin, or under such a node.
        let mut may_be_shared = vec![false; records.len()];
        for index in wanted() {
            let RawNode { parent, code, line } = records[index];
            let frame = codes.frame(code, line).unwrap_or_else(|| {
                *damage += 1;
                unknown_frame(&mut self.strings)
            });
            let frame = FrameId(self.frames.intern(frame));
            // A parent stands before its children (`read_nodes`), so its number is known.
            let node = Node { parent: node_id(map.nodes[parent as usize]), frame };
            may_be_shared[index] = may_be_shared[parent as usize] || codes.has_twin(code);
            let node = if is_first && !may_be_shared[index] { self.nodes.add(node) } else { self.nodes.intern(node) };
            map.nodes[index] = node;
            match map.is_shared.get_mut(node as usize) {
                Some(is_shared) => *is_shared = true,
                None => map.is_shared.push(false),
            }
        }
        map
    }

    /// The tables. `process_of_session` gives the index of the process in the capture, `None` for a session that is left
    /// out.
    pub fn finish(self, slices: Vec<RawSlice>, process_of_session: &[Option<u32>]) -> Tables {
        let (mut sites, mut releases) = (Vec::new(), Vec::new());
        let mut site_maps = FxHashMap::default();
        for part in self.parts {
            let Some(process) = process_of_session.get(part.session as usize).copied().flatten() else {
                continue;
            };
            site_maps.insert(part.session, (sites.len() as u32, part.site_map));
            append(&mut sites, part.sites, |site| site.process = process);
            append(&mut releases, part.releases, |release| release.process = process);
        }
        Tables {
            strings: self.strings.into_values(),
            frames: self.frames.into_values(),
            nodes: self.nodes.into_nodes(),
            sites,
            releases,
            slices: resolve_slices(slices, &site_maps),
        }
    }
}

impl Part {
    fn new(session: u32, view: &SharedView, peak: Peak, raw_sites: &[RawSite], nodes: &NodeMap) -> Self {
        let (release_count, site_count) = count_kinds(raw_sites);
        let mut part = Self {
            session,
            sites: Vec::with_capacity(site_count),
            releases: Vec::with_capacity(release_count),
            site_map: vec![NONE; raw_sites.last().map_or(0, |raw| raw.index as usize + 1)],
        };
        let mut slots = Slots { nodes, by_key: FxHashMap::default() };
        let lanes = readable_lanes(view, &mut 0);
        let mut totals = [SiteTotals::default(); SITES_PER_CHUNK];
        for raw_sites in raw_sites.chunk_by(|a, b| a.chunk() == b.chunk()) {
            let (Some(first), Some(last)) = (raw_sites.first(), raw_sites.last()) else { continue };
            chunk_totals(view, &lanes, first.chunk(), peak, &mut totals[..=last.place()]);
            for raw in raw_sites {
                let node = nodes.nodes.get(raw.node as usize).copied().unwrap_or(NONE);
                part.add_site(raw, node, &totals[raw.place()], &mut slots);
            }
        }
        part.sites.shrink_to_fit();
        part.releases.shrink_to_fit();
        part
    }

    /// Adds one site or release.
    fn add_site(&mut self, raw: &RawSite, node: u32, totals: &SiteTotals, slots: &mut Slots<'_>) {
        if is_release(raw.kind) {
            let index = slots.find(node, raw.kind, self.releases.len());
            if index == self.releases.len() {
                self.releases.push(empty_release(self.session, node, raw.kind));
            }
            add_to_release(&mut self.releases[index], totals);
            return;
        }
        let Some(allocator) = raw.allocator() else { return };
        let index = slots.find(node, raw.kind, self.sites.len());
        if index == self.sites.len() {
            self.sites.push(empty_site(self.session, node, allocator));
        }
        add_to_site(&mut self.sites[index], totals);
        self.site_map[raw.index as usize] = index as u32;
    }
}

/// Moves `more` behind `all`, each changed by `change`. The first are not copied: most recordings are of one process.
fn append<T>(all: &mut Vec<T>, more: Vec<T>, change: impl FnMut(&mut T)) {
    let known = all.len();
    if known == 0 {
        *all = more;
    } else {
        all.extend(more);
    }
    all[known..].iter_mut().for_each(change);
}

/// A node of the shared tables, with a parent that is known to stand before it.
#[derive(Clone, Copy, Default)]
struct RawNode {
    parent: u32,
    code: u32,
    line: u32,
}

fn read_nodes(view: &SharedView, damage: &mut u64) -> Vec<RawNode> {
    let node_count = view.node_count();
    let mut nodes = Vec::with_capacity(node_count);
    for chunk in 0..node_count.div_ceil(NODES_PER_CHUNK) {
        let wanted = (node_count - nodes.len()).min(NODES_PER_CHUNK);
        let Some(records) = view.nodes(chunk) else {
            *damage += 1;
            nodes.resize(nodes.len() + wanted, RawNode::default());
            continue;
        };
        for record in &records[..wanted] {
            let mut parent = record.parent.load(Relaxed);
            if parent as usize >= nodes.len().max(1) {
                *damage += 1;
                parent = NODE_ROOT;
            }
            nodes.push(RawNode { parent, code: record.code.load(Relaxed), line: record.line.load(Relaxed) });
        }
    }
    nodes
}

impl RawSite {
    fn chunk(&self) -> usize {
        self.index as usize / SITES_PER_CHUNK
    }

    fn place(&self) -> usize {
        self.index as usize % SITES_PER_CHUNK
    }

    fn allocator(&self) -> Option<Allocator> {
        u8::try_from(self.kind).ok().and_then(Allocator::from_u8)
    }
}

/// How many are releases, and how many are not.
fn count_kinds(raw_sites: &[RawSite]) -> (usize, usize) {
    let release_count = raw_sites.iter().filter(|raw| is_release(raw.kind)).count();
    (release_count, raw_sites.len() - release_count)
}

/// By number, whether a site's stack goes through the node.
fn needed_nodes(records: &[RawNode], raw_sites: &[RawSite]) -> Vec<bool> {
    let mut needed = vec![false; records.len()];
    for raw in raw_sites {
        if let Some(is_needed) = needed.get_mut(raw.node as usize) {
            *is_needed = true;
        }
    }
    for index in (1..records.len()).rev() {
        if needed[index] {
            needed[records[index].parent as usize] = true;
        }
    }
    needed
}

/// The sites at which something happened.
fn read_sites(view: &SharedView, peak: Peak, damage: &mut u64) -> Vec<RawSite> {
    let site_count = view.site_count();
    let lanes = readable_lanes(view, damage);
    let mut sites = Vec::with_capacity(site_count);
    let mut totals = [SiteTotals::default(); SITES_PER_CHUNK];
    for chunk in 0..site_count.div_ceil(SITES_PER_CHUNK) {
        let Some(records) = view.sites(chunk) else {
            *damage += 1;
            continue;
        };
        let first = chunk * SITES_PER_CHUNK;
        let totals = &mut totals[..SITES_PER_CHUNK.min(site_count - first)];
        *damage += u64::from(!chunk_totals(view, &lanes, chunk, peak, totals));
        for (index, (record, totals)) in (first..).zip(records.iter().zip(&*totals)) {
            if index == 0 || *totals == SiteTotals::default() {
                continue;
            }
            let (node, kind) = (record.node.load(Relaxed), record.kind.load(Relaxed));
            let raw = RawSite { index: index as u32, node, kind };
            *damage += u64::from(node >= view.node_count() as u32);
            *damage += u64::from(!is_release(kind) && raw.allocator().is_none());
            sites.push(raw);
        }
    }
    sites
}

/// The lanes; one that cannot be read is damage.
pub fn readable_lanes<'a>(view: &'a SharedView, damage: &mut u64) -> Vec<&'a Lane> {
    let lanes = view.lanes();
    *damage += lanes.iter().filter(|lane| lane.is_none()).count() as u64;
    lanes.into_iter().flatten().collect()
}

fn unknown_frame(strings: &mut Interner<String>) -> Frame {
    use memlens_format::capture::StringId;
    Frame {
        function: StringId(strings.intern("<unknown>".to_owned())),
        file: StringId(strings.intern(String::new())),
        line: 0,
        first_line: 0,
    }
}

fn node_id(node: u32) -> Option<NodeId> {
    (node != NONE).then_some(NodeId(node))
}

fn empty_site(process: u32, node: u32, allocator: Allocator) -> Site {
    Site {
        process,
        node: node_id(node),
        allocator,
        allocations: 0,
        allocated_bytes: 0,
        live_count: 0,
        live_bytes: 0,
        peak_count: 0,
        peak_bytes: 0,
        temporary_count: 0,
        temporary_bytes: 0,
    }
}

fn add_to_site(site: &mut Site, totals: &SiteTotals) {
    let figures = [
        (&mut site.allocations, totals.count),
        (&mut site.allocated_bytes, totals.bytes),
        (&mut site.live_count, totals.live_count.max(0) as u64),
        (&mut site.live_bytes, totals.live_bytes.max(0) as u64),
        (&mut site.peak_count, totals.peak_count.max(0) as u64),
        (&mut site.peak_bytes, totals.peak_bytes.max(0) as u64),
        (&mut site.temporary_count, totals.temporary_count),
        (&mut site.temporary_bytes, totals.temporary_bytes),
    ];
    for (sum, figure) in figures {
        *sum = sum.saturating_add(figure);
    }
}

fn empty_release(process: u32, node: u32, kind: u32) -> Release {
    Release { process, node: node_id(node), count: 0, bytes: 0, is_file: kind == SITE_KIND_RELEASE_FILE }
}

fn add_to_release(release: &mut Release, totals: &SiteTotals) {
    release.count = release.count.saturating_add(totals.count);
    release.bytes = release.bytes.saturating_add(totals.bytes);
}

/// `site_maps` has, by session, where its sites begin, and for each number of the agent which of them it is.
fn resolve_slices(slices: Vec<RawSlice>, site_maps: &FxHashMap<u32, (u32, Vec<u32>)>) -> Vec<Slice> {
    let site_of = |session: u32, site: u32| {
        let (first, site_map) = site_maps.get(&session)?;
        let index = *site_map.get(site as usize)?;
        (index != NONE).then(|| SiteId(first + index))
    };
    let resolve = |slice: RawSlice| {
        let mut changes: Vec<Change> = Vec::with_capacity(slice.changes.len());
        for raw in &slice.changes {
            changes.extend(site_of(raw.session, raw.site).map(|site| Change {
                site,
                allocations: raw.allocations,
                allocated_bytes: raw.allocated_bytes,
                live_count: raw.live_count,
                live_bytes: raw.live_bytes,
            }));
        }
        changes.sort_unstable_by_key(|change| change.site);
        changes.dedup_by(merge_change);
        Slice { time_ns: slice.time_ns, changes }
    };
    slices.into_iter().map(resolve).filter(|slice| !slice.changes.is_empty()).collect()
}

fn merge_change(next: &mut Change, kept: &mut Change) -> bool {
    if next.site != kept.site {
        return false;
    }
    kept.allocations = kept.allocations.saturating_add(next.allocations);
    kept.allocated_bytes = kept.allocated_bytes.saturating_add(next.allocated_bytes);
    kept.live_count = kept.live_count.saturating_add(next.live_count);
    kept.live_bytes = kept.live_bytes.saturating_add(next.live_bytes);
    true
}
