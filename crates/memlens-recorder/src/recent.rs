//! The sites that were used last, with their counters: a small direct-mapped cache before the [key table](crate::key_table).
//!
//! Most events come from a handful of places. For them the cache saves the hash, a probe into a table that need not be in L1, and
//! the way from the site to its counters. What it holds is true as long as the key table's entry is: it is cleared when one is removed.
use crate::memory::{Memory, private_array};
use core::ptr::NonNull;
use memlens_format::Allocator;
use memlens_format::shared::{Counters, NODE_CHUNKS, NODES_PER_CHUNK, SITE_KIND_RELEASE};

/// An instruction's lowest bits, but for the very lowest, which is 0, choose one of so many slots ...
const INSTRUCTION_BITS: u32 = 6;
/// ... behind the one that the parent's lowest bits choose.
const PARENT_BITS: u32 = 5;
/// Slots of a table.
const SLOTS: usize = (1 << INSTRUCTION_BITS) + (1 << PARENT_BITS);
/// One for releases, three for allocations: what one instruction allocates first and what it allocates then must not meet.
const TABLES: usize = 4;

/// Bits of a user's address.
const ADDRESS_BITS: u32 = 47;
// What the place of a slot does not tell of the parent stands in a key where an instruction has no bits: the lowest, and those above an address.
const NODE_BITS: u32 = (NODE_CHUNKS * NODES_PER_CHUNK).trailing_zeros();
const _: () = assert!(NODE_BITS - PARENT_BITS - 1 <= u64::BITS - ADDRESS_BITS);

/// The kinds that have a table of their own: blocks of the mem and of the object domain, and releases.
const MEM: u8 = Allocator::Pymem as u8 + 1;
const OBJECT: u8 = Allocator::Pyobject as u8 + 1;
const RELEASE: u8 = SITE_KIND_RELEASE as u8;

/// A site, and where its figures are kept.
#[derive(Clone, Copy)]
pub struct CountedSite {
    /// Its number.
    pub site: u32,
    /// Its counters in the lane that the cache belongs to.
    pub counters: &'static Counters,
}

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Slot {
    /// [`Row::key`].
    key: u64,
    counters: Option<&'static Counters>,
    site: u32,
    kind: u32,
}

/// The cache.
#[derive(Clone, Copy)]
pub struct RecentSites {
    slots: NonNull<Slot>,
}

impl RecentSites {
    /// An empty one.
    pub fn new(memory: &mut impl Memory) -> Option<Self> {
        // SAFETY: a Slot of zeros is an empty one.
        Some(Self { slots: unsafe { private_array(memory, TABLES * SLOTS)? } })
    }

    /// The part of it for places under one parent (a node). It stays right as long as the cache is there, whatever is remembered or forgotten.
    #[inline(always)]
    pub fn row(&self, parent: u32) -> Row {
        let (low, high) = (parent & ((1 << PARENT_BITS) - 1), u64::from(parent >> PARENT_BITS));
        // SAFETY: a table has more slots than that.
        Row { first: unsafe { self.slots.add(low as usize) }, parent: high >> 1 << ADDRESS_BITS | high & 1 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // SAFETY: there are so many, and a Slot of zeros is an empty one.
        unsafe { self.slots.write_bytes(0, TABLES * SLOTS) };
    }
}

/// The slots for places under one parent.
#[derive(Clone, Copy)]
pub struct Row {
    /// Slot 0 of table 0.
    first: NonNull<Slot>,
    /// What `first` does not tell of the parent, where [`Row::key`] wants it.
    parent: u64,
}

impl Row {
    /// None at all: neither to be asked nor to be written.
    pub const NONE: Self = Self { first: NonNull::dangling(), parent: 0 };

    /// Different for all instructions that can meet in a slot: an instruction is an address of two bytes or more. (Together with the kind, in a
    /// table that has several.)
    #[inline(always)]
    fn key(self, instruction: u64) -> u64 {
        instruction ^ self.parent
    }

    /// The instruction's bits are taken where they make an offset in bytes.
    #[inline(always)]
    fn slot(self, instruction: u64, kind: u8) -> NonNull<Slot> {
        const SLOT_BITS: u32 = size_of::<Slot>().trailing_zeros();
        const MASK: usize = ((1 << INSTRUCTION_BITS) - 1) << SLOT_BITS;
        let offset = (instruction << (SLOT_BITS - 1)) as usize & MASK;
        // SAFETY: the last slot that a row can begin at has so many behind it in each table.
        unsafe { self.first.byte_add(offset).add(table_of(kind) * SLOTS) }
    }

    /// The site of `kind` at the instruction, if it was used lately.
    ///
    /// Budget: one cache line, one compare.
    ///
    /// # Safety
    /// The row must be one of a cache that is still there, and `instruction` an address of a user's, even and not null.
    #[inline(always)]
    pub unsafe fn get(self, instruction: u64, kind: u8) -> Option<CountedSite> {
        // SAFETY: the caller's promise.
        let slot = unsafe { self.slot(instruction, kind).as_ref() };
        if slot.key != self.key(instruction) || has_several_kinds(kind) && slot.kind != u32::from(kind) {
            return None;
        }
        // SAFETY: an instruction is never 0, and whoever writes another key writes the counters as well.
        Some(CountedSite { site: slot.site, counters: unsafe { slot.counters.unwrap_unchecked() } })
    }

    /// Remembers a site.
    ///
    /// # Safety
    /// The row must be one of a cache that is still there, and the caller the one who may write the lane. (What cannot be asked for with
    /// [`Row::get`] is not remembered.)
    #[inline(always)]
    pub unsafe fn put(self, instruction: u64, kind: u8, found: CountedSite) {
        let is_address = instruction & 1 == 0 && instruction >> ADDRESS_BITS == 0;
        if is_address {
            let (key, counters) = (self.key(instruction), Some(found.counters));
            let slot = Slot { key, counters, site: found.site, kind: u32::from(kind) };
            // SAFETY: the caller's promise.
            unsafe { self.slot(instruction, kind).write(slot) };
        }
    }
}

#[inline(always)]
fn table_of(kind: u8) -> usize {
    match kind {
        RELEASE => 0,
        OBJECT => 1,
        MEM => 2,
        _ => 3,
    }
}

#[inline(always)]
fn has_several_kinds(kind: u8) -> bool {
    table_of(kind) == 3
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::boxed::Box;
    use std::collections::HashMap;
    use std::vec::Vec;

    fn counters(count: u64) -> &'static Counters {
        // SAFETY: a Counters of zeros is an empty one.
        let counters: Box<Counters> = unsafe { Box::new_zeroed().assume_init() };
        counters.count.store(count, core::sync::atomic::Ordering::Relaxed);
        Box::leak(counters)
    }

    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*state >> 33) as usize
    }

    /// What it knows is what was put in last at the very same place, or nothing: also of parents and instructions that differ only in what a
    /// slot's place tells, only in what its key tells, or in both so that one could make up for the other.
    #[test]
    fn never_answers_for_another_place() {
        let parents: Vec<u32> =
            (0..10).chain([32, 33, 64, 96, 97, 1 << 10, 1 << 21, (1 << 21) + 32, (1 << 22) - 1]).collect();
        let codes = [0x5555_0000_1000u64, 0x5555_0000_1040, 0x5555_0000_1080, 0x5555_1000_1000, 2, 1 << 46];
        let kinds = [OBJECT, MEM, RELEASE, 1, 2, 0xfe];
        let mut recent = RecentSites::new(&mut Heap { next_offset: 0 }).unwrap();
        let mut model = HashMap::new();
        let all: Vec<_> = (0..100).map(counters).collect();
        let (mut state, mut hits) = (7u64, 0);
        for step in 0..400_000 {
            let parent = parents[next(&mut state) % parents.len()];
            let instruction = codes[next(&mut state) % codes.len()] + 2 * (next(&mut state) % 3) as u64;
            let kind = kinds[next(&mut state) % kinds.len()];
            let (row, place) = (recent.row(parent), (instruction, kind, parent));
            // SAFETY: the cache is there, and nobody else writes it.
            match unsafe { row.get(instruction, kind) } {
                Some(found) => {
                    hits += 1;
                    assert_eq!(Some(&found.site), model.get(&place));
                    assert_eq!(u64::from(found.site), found.counters.live_count() as u64);
                }
                None => {
                    let site = next(&mut state) % 100;
                    // SAFETY: as above.
                    unsafe { row.put(instruction, kind, CountedSite { site: site as u32, counters: all[site] }) };
                    model.insert(place, site as u32);
                }
            }
            if step % 5000 == 0 {
                recent.clear();
                model.clear();
            }
        }
        assert!(hits > 10_000, "{hits}");
    }

    /// A neighbour under the same parent does not displace what is there, as far as the slots go; nor does another kind of its own table.
    #[test]
    fn what_a_loop_needs_stays() {
        let recent = RecentSites::new(&mut Heap { next_offset: 0 }).unwrap();
        let (row, code) = (recent.row(77), 0x7fff_1234_5678u64);
        let places = || (0..64).flat_map(|index| [OBJECT, MEM, RELEASE, 1].map(|kind| (code + 2 * index, kind)));
        let counters = counters(1);
        for (site, (instruction, kind)) in places().enumerate() {
            // SAFETY: the cache is there, and nobody else writes it.
            unsafe { row.put(instruction, kind, CountedSite { site: site as u32, counters }) };
        }
        for (site, (instruction, kind)) in places().enumerate() {
            // SAFETY: as above.
            let found = unsafe { row.get(instruction, kind) };
            assert_eq!(found.map(|found| found.site), Some(site as u32));
        }
    }

    /// What is no address of an instruction is not remembered: it would pass for one under another parent.
    #[test]
    fn what_is_no_instruction_is_not_remembered() {
        let recent = RecentSites::new(&mut Heap { next_offset: 0 }).unwrap();
        let (instruction, found) = (0x5555_0000_1000u64, CountedSite { site: 1, counters: counters(1) });
        for (strange, other_parent) in [(instruction + 1, 5 + 32), (instruction | 1 << 47, 5 + 64)] {
            // SAFETY: the cache is there, and nobody else writes it.
            unsafe {
                recent.row(5).put(strange, OBJECT, found);
                assert!(recent.row(other_parent).get(instruction, OBJECT).is_none());
                recent.row(5).put(instruction, OBJECT, found);
                assert!(recent.row(5).get(instruction, OBJECT).is_some());
            }
        }
    }
}
