//! What one process brings to a capture by itself: its sites and its releases.
//!
//! Each process has arrays of its own, of just their size: one array of all processes' sites would be copied each time that it grows, and
//! take up to three times its size while processes come and go. They are read in one pass, for a program that has ended is waited for.
use crate::peak::{Peak, SiteTotals, chunk_totals};
use crate::shared_view::SharedView;
use memlens_format::Allocator;
use memlens_format::capture::{NodeId, Release, Site};
use memlens_format::shared::{Lane, SITE_KIND_RELEASE_FILE, SITES_PER_CHUNK, SiteRecord, is_release};
use rustc_hash::FxHashMap;
use std::sync::atomic::Ordering::Relaxed;

/// Stands for "no site" in [`Part::site_map`], and for "no node".
pub const NONE: u32 = u32::MAX;

/// What became of a process' nodes.
pub struct NodeMap {
    /// By the agent's number of a node, the capture's; [`NONE`] for the root and for nodes that no site needs.
    pub nodes: Vec<u32>,
    /// By the capture's number, whether several nodes became this one (or may have).
    pub is_shared: Vec<bool>,
}

/// The sites and releases of one session at which something happened.
pub struct Part {
    /// Index of the session.
    pub session: u32,
    /// The sites. They name nodes by the agent's numbers until [`Part::place_on`].
    pub sites: Vec<Site>,
    /// The releases, likewise.
    pub releases: Vec<Release>,
    /// By the agent's number of a site, the index in `sites`, or [`NONE`].
    pub site_map: Vec<u32>,
}

impl Part {
    /// Reads all that `view` holds. `on_site` is told of each site in order, by the agent's number.
    pub fn read(
        session: u32,
        view: &SharedView,
        peak: Peak,
        damage: &mut u64,
        mut on_site: impl FnMut(usize, &SiteTotals),
    ) -> Self {
        let site_count = view.site_count();
        let (most_sites, most_releases) = count_kinds(view, site_count);
        let mut part = Self {
            session,
            sites: Vec::with_capacity(most_sites),
            releases: Vec::with_capacity(most_releases),
            site_map: vec![NONE; site_count],
        };
        let lanes = readable_lanes(view, damage);
        let mut totals = [SiteTotals::default(); SITES_PER_CHUNK];
        for (chunk, records) in site_chunks(view, site_count) {
            let Some(records) = records else {
                *damage += 1;
                continue;
            };
            let totals = &mut totals[..records.len()];
            *damage += u64::from(!chunk_totals(view, &lanes, chunk, peak, totals));
            for (index, (record, totals)) in (chunk * SITES_PER_CHUNK..).zip(records.iter().zip(&*totals)) {
                if index > 0 && *totals != SiteTotals::default() {
                    part.add(index, record, totals, damage, &mut on_site);
                }
            }
        }
        part.sites.shrink_to_fit();
        part.releases.shrink_to_fit();
        part
    }

    /// Adds one site or release.
    fn add(
        &mut self,
        index: usize,
        record: &SiteRecord,
        totals: &SiteTotals,
        damage: &mut u64,
        on_site: &mut impl FnMut(usize, &SiteTotals),
    ) {
        let (node, kind) = (Some(NodeId(record.node.load(Relaxed))), record.kind.load(Relaxed));
        if is_release(kind) {
            let is_file = kind == SITE_KIND_RELEASE_FILE;
            self.releases.push(Release {
                process: self.session,
                node,
                count: totals.count,
                bytes: totals.bytes,
                is_file,
            });
            return;
        }
        let Some(allocator) = u8::try_from(kind).ok().and_then(Allocator::from_u8) else {
            *damage += 1;
            return;
        };
        on_site(index, totals);
        self.site_map[index] = self.sites.len() as u32;
        self.sites.push(Site {
            process: self.session,
            node,
            allocator,
            allocations: totals.count,
            allocated_bytes: totals.bytes,
            live_count: totals.live_count.max(0) as u64,
            live_bytes: totals.live_bytes.max(0) as u64,
            peak_count: totals.peak_count.max(0) as u64,
            peak_bytes: totals.peak_bytes.max(0) as u64,
            temporary_count: totals.temporary_count,
            temporary_bytes: totals.temporary_bytes,
        });
    }

    /// The nodes of all sites and releases, by the agent's numbers: before [`Part::place_on`].
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        let of_sites = self.sites.iter().filter_map(|site| site.node);
        of_sites.chain(self.releases.iter().filter_map(|release| release.node)).map(|node| node.0)
    }

    /// Puts the capture's nodes in place of the agent's. What differs in nothing else any more becomes one.
    pub fn place_on(&mut self, nodes: &NodeMap) {
        if let Some(moved) = place(&mut self.sites, nodes) {
            for index in self.site_map.iter_mut().filter(|index| **index != NONE) {
                *index = moved[*index as usize];
            }
        }
        place(&mut self.releases, nodes);
    }
}

/// A site or a release.
trait Placed: Copy {
    fn node(&mut self) -> &mut Option<NodeId>;
    /// What tells two at the same node apart.
    fn kind(&self) -> u32;
    fn add(&mut self, other: &Self);
}

impl Placed for Site {
    fn node(&mut self) -> &mut Option<NodeId> {
        &mut self.node
    }

    fn kind(&self) -> u32 {
        self.allocator as u32
    }

    fn add(&mut self, other: &Self) {
        let figures = [
            (&mut self.allocations, other.allocations),
            (&mut self.allocated_bytes, other.allocated_bytes),
            (&mut self.live_count, other.live_count),
            (&mut self.live_bytes, other.live_bytes),
            (&mut self.peak_count, other.peak_count),
            (&mut self.peak_bytes, other.peak_bytes),
            (&mut self.temporary_count, other.temporary_count),
            (&mut self.temporary_bytes, other.temporary_bytes),
        ];
        for (sum, figure) in figures {
            *sum = sum.saturating_add(figure);
        }
    }
}

impl Placed for Release {
    fn node(&mut self) -> &mut Option<NodeId> {
        &mut self.node
    }

    fn kind(&self) -> u32 {
        u32::from(self.is_file)
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Gives all their nodes of the capture, and makes one of those that have become equal. An agent's sites differ in node or kind, so only at
/// shared nodes can there be any. Returns where each has gone, if not all have stayed.
fn place<T: Placed>(all: &mut Vec<T>, nodes: &NodeMap) -> Option<Vec<u32>> {
    let mut by_key: FxHashMap<(u32, u32), usize> = FxHashMap::default();
    let mut moved: Option<Vec<u32>> = None;
    let mut kept = 0;
    for index in 0..all.len() {
        let mut next = all[index];
        let raw = next.node().map_or(0, |node| node.0 as usize);
        let node = nodes.nodes.get(raw).copied().unwrap_or(NONE);
        *next.node() = node_id(node);
        let is_alone = nodes.is_shared.get(node as usize) == Some(&false);
        let target = if is_alone { kept } else { *by_key.entry((node, next.kind())).or_insert(kept) };
        if target == kept {
            all[kept] = next;
            kept += 1;
        } else {
            all[target].add(&next);
            moved.get_or_insert_with(|| (0..index as u32).collect());
        }
        if let Some(moved) = &mut moved {
            moved.push(target as u32);
        }
    }
    all.truncate(kept);
    if moved.is_some() {
        all.shrink_to_fit();
    }
    moved
}

/// The capture's node as it is written.
pub fn node_id(node: u32) -> Option<NodeId> {
    (node != NONE).then_some(NodeId(node))
}

/// How many sites there are, and how many releases: at most as many as something happened at.
fn count_kinds(view: &SharedView, site_count: usize) -> (usize, usize) {
    let records = site_chunks(view, site_count).filter_map(|(_, records)| records).flatten();
    let release_count = records.filter(|record| is_release(record.kind.load(Relaxed))).count();
    (site_count - release_count, release_count)
}

/// The records of the first `site_count` sites, in chunks; `None` for one that cannot be read.
fn site_chunks(view: &SharedView, site_count: usize) -> impl Iterator<Item = (usize, Option<&[SiteRecord]>)> {
    (0..site_count.div_ceil(SITES_PER_CHUNK)).map(move |chunk| {
        let wanted = SITES_PER_CHUNK.min(site_count - chunk * SITES_PER_CHUNK);
        (chunk, view.sites(chunk).map(|records| &records[..wanted]))
    })
}

/// The lanes; one that cannot be read is damage.
pub fn readable_lanes<'a>(view: &'a SharedView, damage: &mut u64) -> Vec<&'a Lane> {
    let lanes = view.lanes();
    *damage += lanes.iter().filter(|lane| lane.is_none()).count() as u64;
    lanes.into_iter().flatten().collect()
}
