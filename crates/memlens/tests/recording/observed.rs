//! A capture with names in place of ids, and the sums that the tests compare.
use memlens_format::Allocator;
use memlens_format::capture::{Capture, NodeId, Site, StringId};
use std::collections::BTreeMap;

/// A frame as a person knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameName {
    pub function: String,
    pub file: String,
    pub line: u32,
}

/// A site and its stack, innermost frame first.
#[derive(Clone, Debug)]
pub struct ObservedSite {
    pub stack: Vec<FrameName>,
    pub site: Site,
}

/// A capture as the tests see it.
#[derive(Clone, Debug)]
pub struct Observed {
    pub sites: Vec<ObservedSite>,
    pub capture: Capture,
}

/// Sums over sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub allocations: i64,
    pub allocated_bytes: i64,
    pub live_count: i64,
    pub live_bytes: i64,
}

impl Observed {
    pub fn of(capture: &Capture) -> Self {
        let sites = capture.sites.iter().map(|site| ObservedSite { stack: stack(capture, site.node), site: *site });
        Self { sites: sites.collect(), capture: capture.clone() }
    }

    /// Sums by the allocator's name.
    pub fn by_allocator(&self) -> BTreeMap<&'static str, Totals> {
        let mut totals: BTreeMap<&'static str, Totals> = BTreeMap::new();
        for observed in &self.sites {
            totals.entry(observed.site.allocator.name()).or_default().add(&observed.site);
        }
        totals
    }

    /// The same of what a script did or what runs no Python. What the interpreter did for itself before that is not the same in two runs:
    /// without a GIL the collector reads a file each time that it looks whether it should collect (`get_process_mem_usage`).
    pub fn by_allocator_in(&self, script: &str) -> BTreeMap<&'static str, Totals> {
        let is_in_script = |frame: &FrameName| frame.file.ends_with(script) || frame.file == "<thread>";
        let sites =
            self.sites.iter().filter(|observed| observed.stack.is_empty() || observed.stack.iter().any(is_in_script));
        Self { sites: sites.cloned().collect(), capture: self.capture.clone() }.by_allocator()
    }

    /// The sites of Python's mem and object domains.
    pub fn python_sites(&self) -> impl Iterator<Item = &ObservedSite> {
        let is_python = |allocator| matches!(allocator, Allocator::Pymem | Allocator::Pyobject);
        self.sites.iter().filter(move |observed| is_python(observed.site.allocator))
    }

    /// The sites whose innermost frame is a function of this name.
    pub fn in_function<'a>(&'a self, function: &'a str) -> impl Iterator<Item = &'a ObservedSite> {
        self.sites.iter().filter(move |observed| observed.stack.first().is_some_and(|frame| frame.function == function))
    }

    /// What a function of this name allocated itself, in the object domain: count and bytes.
    pub fn allocated_in(&self, function: &str) -> Totals {
        let mut totals = Totals::default();
        for observed in self.in_function(function).filter(|observed| observed.site.allocator == Allocator::Pyobject) {
            totals.add(&observed.site);
        }
        totals
    }
}

impl Totals {
    pub fn add(&mut self, site: &Site) {
        self.allocations += site.allocations as i64;
        self.allocated_bytes += site.allocated_bytes as i64;
        self.live_count += site.live_count as i64;
        self.live_bytes += site.live_bytes as i64;
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            allocations: self.allocations - other.allocations,
            allocated_bytes: self.allocated_bytes - other.allocated_bytes,
            live_count: self.live_count - other.live_count,
            live_bytes: self.live_bytes - other.live_bytes,
        }
    }
}

fn stack(capture: &Capture, innermost: Option<NodeId>) -> Vec<FrameName> {
    let parent = |node: &NodeId| capture.nodes[node.0 as usize].parent;
    std::iter::successors(innermost, parent).map(|node| frame(capture, node)).collect()
}

fn frame(capture: &Capture, node: NodeId) -> FrameName {
    let frame = capture.frames[capture.nodes[node.0 as usize].frame.0 as usize];
    let text = |id: StringId| capture.strings[id.0 as usize].clone();
    FrameName { function: text(frame.function), file: text(frame.file), line: frame.line }
}
