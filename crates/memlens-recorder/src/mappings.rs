//! The ranges that `mmap` handed out, so that parts of them can be released.
//!
//! A sorted array: programs have tens to thousands of mappings, and each change of one is a system call anyway.
use crate::memory::{Memory, private_array};
use core::ptr::NonNull;

/// Most ranges: what Linux allows a process by default (`vm.max_map_count` is 65,530).
const CAPACITY: usize = 1 << 16;

/// What a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anonymous memory. The first, so that zeros are valid.
    Heap,
    /// A file's pages.
    File,
    /// Memory that processes share under a name or a descriptor (`shm_open`, `memfd_create`).
    Shared,
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// The site that mapped it.
    pub site: u32,
    /// What it is.
    pub class: Class,
    /// The library that mapped it for itself, by the agent's number; 0 if there is none.
    pub library: u8,
}

/// What [`Mappings::remove`] took away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The site that had mapped it.
    pub site: u32,
    /// Bytes that are gone.
    pub bytes: u64,
    /// Blocks that are gone: 1 for a whole range, 0 for its edge, -1 for a hole that made two of one.
    pub blocks: i32,
    /// What it is.
    pub class: Class,
}

/// The ranges, sorted, without overlaps. Call it under the lock.
pub struct Mappings {
    ranges: NonNull<Mapping>,
    length: usize,
}

impl Mappings {
    /// No ranges.
    pub fn new(memory: &mut impl Memory) -> Option<Self> {
        // SAFETY: a Mapping of zeros is valid.
        Some(Self { ranges: unsafe { private_array(memory, CAPACITY)? }, length: 0 })
    }

    /// All of them.
    pub fn ranges(&self) -> &[Mapping] {
        // SAFETY: `length` never exceeds CAPACITY, and `self` is the only owner.
        unsafe { core::slice::from_raw_parts(self.ranges.as_ptr(), self.length) }
    }

    fn ranges_mut(&mut self) -> &mut [Mapping] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.ranges.as_ptr(), self.length) }
    }

    /// Adds a range that overlaps no other (call [`Mappings::remove`] first). False if there is no room.
    pub fn insert(&mut self, mapping: Mapping) -> bool {
        if self.length == CAPACITY {
            return false;
        }
        let at = self.ranges().partition_point(|range| range.start < mapping.start);
        self.length += 1;
        let last = self.length - 1;
        let ranges = self.ranges_mut();
        ranges.copy_within(at..last, at + 1);
        ranges[at] = mapping;
        true
    }

    /// The first range that holds this address or lies behind it.
    pub fn first_from(&self, address: usize) -> Option<Mapping> {
        let ranges = self.ranges();
        ranges.get(ranges.partition_point(|range| range.end <= address)).copied()
    }

    /// The range that holds this address.
    pub fn holding(&self, address: usize) -> Option<Mapping> {
        self.first_from(address).filter(|range| range.start <= address)
    }

    /// Takes `[start, end)` out of the first range that it touches; `None` when it touches none (any more).
    pub fn remove(&mut self, start: usize, end: usize) -> Option<Removed> {
        let ranges = self.ranges_mut();
        let at = ranges.partition_point(|range| range.end <= start);
        let range = *ranges.get(at).filter(|range| range.start < end)?;
        let (from, to) = (range.start.max(start), range.end.min(end));
        let removed = |blocks| Removed { site: range.site, bytes: (to - from) as u64, blocks, class: range.class };
        match (range.start < from, to < range.end) {
            (false, false) => {
                ranges.copy_within(at + 1.., at);
                self.length -= 1;
                Some(removed(1))
            }
            (true, false) => {
                ranges[at].end = from;
                Some(removed(0))
            }
            (false, true) => {
                ranges[at].start = to;
                Some(removed(0))
            }
            (true, true) => {
                ranges[at].end = from;
                let split = self.insert(Mapping { start: to, ..range });
                Some(if split { removed(-1) } else { Removed { bytes: (range.end - from) as u64, ..removed(0) } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::collections::HashMap;
    use std::vec::Vec;

    #[test]
    fn equals_a_page_by_page_model() {
        let mut mappings = Mappings::new(&mut Heap { next_offset: 0 }).unwrap();
        let mut model: HashMap<usize, u32> = HashMap::new();
        let mut state = 5u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for site in 1..3000u32 {
            let start = 1 + random(100);
            let end = start + 1 + random(12);
            let mut gone: HashMap<u32, u64> = HashMap::new();
            while let Some(removed) = mappings.remove(start, end) {
                *gone.entry(removed.site).or_insert(0) += removed.bytes;
            }
            let mut expected: HashMap<u32, u64> = HashMap::new();
            for page in start..end {
                if let Some(site) = model.remove(&page) {
                    *expected.entry(site).or_insert(0) += 1;
                }
            }
            assert_eq!(gone, expected);
            if random(2) == 0 {
                assert!(mappings.insert(Mapping { start, end, site, class: Class::Heap, library: 0 }));
                model.extend((start..end).map(|page| (page, site)));
            }
            let mut pages: Vec<(usize, u32)> = mappings
                .ranges()
                .iter()
                .flat_map(|range| (range.start..range.end).map(|page| (page, range.site)))
                .collect();
            pages.sort_unstable();
            let mut want: Vec<(usize, u32)> = model.iter().map(|(page, site)| (*page, *site)).collect();
            want.sort_unstable();
            assert_eq!(pages, want);
        }
    }
}
