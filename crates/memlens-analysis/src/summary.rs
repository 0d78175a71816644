//! Who held the memory at the peak, and the totals.
use crate::profile::{LineId, Profile, StackSite};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The first answer about a recording. Figures are of the heap; file-backed mappings stand apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Largest live heap.
    pub peak_bytes: u64,
    /// When, since the start.
    pub peak_time_ns: u64,
    /// Live heap at the end.
    pub end_bytes: u64,
    /// Blocks live at the end.
    pub end_count: u64,
    /// Allocations.
    pub allocations: u64,
    /// Releases.
    pub frees: u64,
    /// Bytes asked for.
    pub allocated_bytes: u64,
    /// Bytes released.
    pub freed_bytes: u64,
    /// What the sites below hold together: of one process the peak, of several the sum of their peaks, which fall on different moments.
    pub held_bytes: u64,
    /// Sites live at the peak, of several processes each at its own, largest first.
    pub sites: Vec<StackSite>,
    /// The same bytes, each counted at the innermost of the user's own lines; largest first. The last part, without a line,
    /// is what no line of the user's asked for.
    pub own_lines: Vec<LineShare>,
    /// File-backed mappings live at the peak.
    pub file_mapped_bytes: u64,
    /// The most shared memory that was mapped.
    pub shared_mapped_bytes: u64,
    /// What libraries mapped by themselves, largest first: part of the heap, but seen by region only.
    pub libraries: Vec<LibraryShare>,
}

/// What one library mapped by itself. Of several processes the sums of what each had at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryShare {
    /// Path of its file.
    pub library: String,
    /// The most that was mapped at a time.
    pub mapped_bytes: u64,
    /// The most of it that was seen to be resident; `None` where nobody looked.
    pub resident_bytes: Option<u64>,
}

/// What one of the user's own lines held at the peak, with what it called in libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineShare {
    /// The line; `None` for what no line of the user's asked for.
    pub line: Option<LineId>,
    /// Bytes live.
    pub bytes: u64,
    /// Blocks live.
    pub count: u64,
}

impl Summary {
    /// Sums up a profile.
    pub fn new(profile: &Profile) -> Self {
        let meta = profile.meta();
        let sites = profile.sites_at_peak(true);
        let mut summary = Self {
            peak_bytes: meta.peak_bytes,
            peak_time_ns: meta.peak_time_ns,
            end_bytes: 0,
            end_count: 0,
            allocations: 0,
            frees: 0,
            allocated_bytes: 0,
            freed_bytes: 0,
            held_bytes: sites.iter().fold(0, |sum, site| sum.saturating_add(site.bytes)),
            own_lines: own_lines(profile, &sites),
            sites,
            file_mapped_bytes: meta.file_mapped_bytes,
            shared_mapped_bytes: meta.shared_mapped_bytes,
            libraries: libraries(profile),
        };
        summary.add_totals(profile);
        summary
    }

    fn add_totals(&mut self, profile: &Profile) {
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        for site in profile.sites().iter().filter(|site| site.allocator.is_heap()) {
            add(&mut self.end_bytes, site.live_bytes);
            add(&mut self.end_count, site.live_count);
            add(&mut self.allocations, site.allocations);
            add(&mut self.allocated_bytes, site.allocated_bytes);
        }
        for release in profile.releases().iter().filter(|release| !release.is_file) {
            add(&mut self.frees, release.count);
            add(&mut self.freed_bytes, release.bytes);
        }
    }
}

fn libraries(profile: &Profile) -> Vec<LibraryShare> {
    let mut sums: BTreeMap<&str, (u64, Option<u64>)> = BTreeMap::new();
    for region in profile.regions() {
        let (mapped, resident) = sums.entry(&region.library).or_insert((0, Some(0)));
        *mapped = mapped.saturating_add(region.mapped_bytes);
        *resident = resident.zip(region.resident_bytes).map(|(sum, more)| sum.saturating_add(more));
    }
    let share = |(library, (mapped_bytes, resident_bytes)): (&str, _)| LibraryShare {
        library: library.to_owned(),
        mapped_bytes,
        resident_bytes,
    };
    let mut libraries: Vec<LibraryShare> = sums.into_iter().map(share).collect();
    libraries.sort_by_key(|share| Reverse(share.mapped_bytes));
    libraries
}

fn own_lines(profile: &Profile, sites: &[StackSite]) -> Vec<LineShare> {
    let owners = owners_of_nodes(profile);
    let none = profile.lines().len();
    let share = |line: Option<LineId>| LineShare { line, bytes: 0, count: 0 };
    let mut shares: Vec<LineShare> =
        (0..none).map(|line| share(Some(LineId(line as u32)))).chain([share(None)]).collect();
    for site in sites {
        let owner = site.node.and_then(|node| owners[node.0 as usize]);
        let share = &mut shares[owner.map_or(none, |line| line.0 as usize)];
        share.bytes = share.bytes.saturating_add(site.bytes);
        share.count = share.count.saturating_add(site.count);
    }
    shares.retain(|share| share.bytes > 0);
    shares.sort_by_key(|share| (share.line.is_none(), Reverse(share.bytes), share.line));
    shares
}

/// For each node the innermost line of the user's own in its stack.
pub(crate) fn owners_of_nodes(profile: &Profile) -> Vec<Option<LineId>> {
    let mut owners: Vec<Option<LineId>> = Vec::with_capacity(profile.nodes().len());
    for node in profile.nodes() {
        let is_own = profile.file(node.line).origin == crate::Origin::Own;
        let above = node.parent.and_then(|parent| owners[parent.0 as usize]);
        owners.push(if is_own { Some(node.line) } else { above });
    }
    owners
}
