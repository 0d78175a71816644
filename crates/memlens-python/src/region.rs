//! Buffers as ranges of addresses: a byte that several objects show is one byte.
use std::collections::BTreeMap;

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Memory of the process alone.
    Heap,
    /// Memory that processes share: a file in a file system that is memory.
    Shared,
    /// Pages of a file: never heap.
    File,
}

impl RegionKind {
    /// Of a mapping of the file behind a descriptor.
    pub fn of_file(descriptor: i32) -> Self {
        // SAFETY: the structure is plain data, and the call fills it or fails.
        let (result, status) = unsafe {
            let mut status: libc::statfs = std::mem::zeroed();
            (libc::fstatfs(descriptor, &raw mut status), status)
        };
        let is_memory = result == 0 && [libc::TMPFS_MAGIC, libc::HUGETLBFS_MAGIC].contains(&(status.f_type as _));
        if is_memory { Self::Shared } else { Self::File }
    }
}

/// A buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub address: usize,
    pub bytes: usize,
    pub kind: RegionKind,
}

impl Region {
    pub fn end(&self) -> usize {
        self.address.saturating_add(self.bytes)
    }
}

/// Buffers, none of which is counted twice.
#[derive(Default)]
pub struct Regions {
    all: Vec<Region>,
}

/// Bytes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionBytes {
    pub heap: u64,
    pub shared: u64,
    pub file: u64,
}

impl Regions {
    pub fn push(&mut self, region: Region) {
        if region.bytes > 0 {
            self.all.push(region);
        }
    }

    pub fn extend(&mut self, regions: impl IntoIterator<Item = Region>) {
        regions.into_iter().for_each(|region| self.push(region));
    }

    pub fn all(&self) -> &[Region] {
        &self.all
    }

    /// The union, in order of address.
    pub fn merged(&self) -> Vec<Region> {
        let mut sorted = self.all.clone();
        sorted.sort_by_key(|region| (region.address, std::cmp::Reverse(region.bytes)));
        let mut merged: Vec<Region> = Vec::new();
        for region in sorted {
            match merged.last_mut() {
                Some(last) if region.address < last.end() => {
                    last.bytes = last.bytes.max(region.end() - last.address);
                }
                _ => merged.push(region),
            }
        }
        merged
    }

    /// Bytes of the union.
    pub fn bytes(&self) -> RegionBytes {
        sum(&self.merged())
    }
}

/// Bytes of regions that do not overlap.
pub fn sum(regions: &[Region]) -> RegionBytes {
    let mut totals: BTreeMap<u8, u64> = BTreeMap::new();
    for region in regions {
        *totals.entry(region.kind as u8).or_default() += region.bytes as u64;
    }
    let of = |kind: RegionKind| totals.get(&(kind as u8)).copied().unwrap_or(0);
    RegionBytes { heap: of(RegionKind::Heap), shared: of(RegionKind::Shared), file: of(RegionKind::File) }
}
