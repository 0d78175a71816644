//! From the agents' tables to a capture's: frames, nodes, sites and releases, each once.
//!
//! Code objects that differ only in what a capture does not keep (a function defined anew) give equal frames: nodes with
//! the same caller, function, file and line become one, and with them their sites. Sites at which nothing happened are
//! left out. All of this is on the clock when a program ends, so every step is one pass over a table.
use crate::code_index::CodeIndex;
use crate::interner::Interner;
use crate::node_table::NodeTable;
use crate::part::{NONE, NodeMap, Part, node_id};
use crate::peak::{Peak, SiteTotals};
use crate::shared_view::SharedView;
use crate::slice_log::{RawChange, RawSlice};
use memlens_format::capture::{Capture, Change, Frame, FrameId, Node, SiteId, Slice};
use memlens_format::shared::{NODE_ROOT, NODES_PER_CHUNK};
use rustc_hash::FxHashMap;
use std::sync::atomic::Ordering::Relaxed;

/// Collects what the processes' tables hold. A process is known by the index of its session.
pub struct Assembler {
    strings: Interner<String>,
    frames: Interner<Frame>,
    nodes: NodeTable,
    parts: Vec<Part>,
}

impl Assembler {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { strings: Interner::new(), frames: Interner::new(), nodes: NodeTable::default(), parts: Vec::new() }
    }

    /// Adds all that `view` holds as of session `session`, with peak figures by `peak`, and tells `on_site` of each site at which something
    /// happened, by the agent's number. Returns how many references in the tables led nowhere; what they concern is counted at the
    /// root or left out.
    pub fn add(&mut self, session: u32, view: &SharedView, peak: Peak, on_site: impl FnMut(usize, &SiteTotals)) -> u64 {
        let mut damage = 0;
        let mut part = Part::read(session, view, peak, &mut damage, on_site);
        let nodes = self.add_nodes(view, &part, &mut damage);
        part.place_on(&nodes);
        self.parts.push(part);
        damage
    }

    /// Adds the nodes that `part` needs.
    fn add_nodes(&mut self, view: &SharedView, part: &Part, damage: &mut u64) -> NodeMap {
        let records = read_nodes(view, damage);
        let needed = needed_nodes(&records, part, damage);
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

    /// A capture that has nothing but the tables. `process_of_session` gives the index of the process in the capture, `None`
    /// for a session that is left out.
    pub fn finish(self, slices: Vec<RawSlice>, process_of_session: &[Option<u32>]) -> Capture {
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
        Capture {
            strings: self.strings.into_values(),
            frames: self.frames.into_values(),
            nodes: self.nodes.into_nodes(),
            sites,
            releases,
            slices: resolve_slices(slices, &site_maps),
            ..Capture::default()
        }
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

/// By number, whether a site's stack goes through the node.
fn needed_nodes(records: &[RawNode], part: &Part, damage: &mut u64) -> Vec<bool> {
    let mut needed = vec![false; records.len()];
    for node in part.nodes() {
        match needed.get_mut(node as usize) {
            Some(is_needed) => *is_needed = true,
            None => *damage += 1,
        }
    }
    for index in (1..records.len()).rev() {
        if needed[index] {
            needed[records[index].parent as usize] = true;
        }
    }
    needed
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

const _: () = assert!(size_of::<RawChange>() == size_of::<Change>());

/// `site_maps` has, by session, where its sites begin, and for each number of the agent which of them it is.
fn resolve_slices(slices: Vec<RawSlice>, site_maps: &FxHashMap<u32, (u32, Vec<u32>)>) -> Vec<Slice> {
    let site_of = |session: u32, site: u32| {
        let (first, site_map) = site_maps.get(&session)?;
        let index = *site_map.get(site as usize)?;
        (index != NONE).then(|| SiteId(first + index))
    };
    let resolve = |slice: RawSlice| {
        let resolved = slice.changes.into_iter().filter_map(|raw| {
            let site = site_of(raw.session, raw.site)?;
            let RawChange { allocations, allocated_bytes, live_count, live_bytes, .. } = raw;
            Some(Change { site, allocations, allocated_bytes, live_count, live_bytes })
        });
        // In the memory of the raw ones, for both take the same.
        let mut changes: Vec<Change> = resolved.collect();
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
