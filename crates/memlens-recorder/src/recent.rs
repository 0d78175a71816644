//! The sites that were used last, with their counters: a small direct-mapped cache before the [key table](crate::key_table).
//!
//! Most events come from a handful of places. For them the cache saves the hash, a probe into a table that need not be in L1, and
//! the way from the site to its counters. What it holds is true as long as the key table's entry is: it is cleared when one is removed.
use crate::key_table::{Key, ParentMix};
use crate::memory::{Memory, private_array};
use core::ptr::NonNull;
use memlens_format::shared::Counters;

/// Slots of a table; 32 bytes each.
const SLOTS: usize = 64;
/// One for releases, three for allocations: what one instruction allocates first and what it allocates then must not meet.
const TABLES: usize = 4;

const SLOT_BITS: u32 = size_of::<Slot>().trailing_zeros();
const _: () = assert!(size_of::<Slot>() == 1 << SLOT_BITS);

/// Kinds of release sites begin here.
const FIRST_RELEASE_KIND: u8 = 0x80;

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
    instruction: u64,
    context: u32,
    site: u32,
    counters: Option<&'static Counters>,
}

/// The cache.
pub struct RecentSites {
    slots: NonNull<Slot>,
}

impl RecentSites {
    /// An empty one.
    pub fn new(memory: &mut impl Memory) -> Option<Self> {
        // SAFETY: a Slot of zeros is an empty one.
        Some(Self { slots: unsafe { private_array(memory, TABLES * SLOTS)? } })
    }

    /// Instructions are two bytes at least, and neighbours under one parent must not meet: so the bits above the lowest choose the slot. They are
    /// taken where they make an offset in bytes.
    #[inline(always)]
    fn slot(&self, instruction: u64, kind: u8, mix: ParentMix) -> NonNull<Slot> {
        let table = if kind >= FIRST_RELEASE_KIND { 0 } else { 1 + usize::from(kind) % (TABLES - 1) };
        let offset = (instruction << (SLOT_BITS - 1) ^ mix.low()) as usize & ((SLOTS - 1) << SLOT_BITS);
        // SAFETY: there are so many tables of so many slots, and the offset is that of a slot.
        unsafe { self.slots.add(table * SLOTS).byte_add(offset) }
    }

    /// Budget: one cache line, two compares.
    #[inline(always)]
    pub fn get(&self, instruction: u64, kind: u8, parent: u32, mix: ParentMix) -> Option<CountedSite> {
        // SAFETY: one of the slots.
        let slot = unsafe { self.slot(instruction, kind, mix).as_ref() };
        if slot.instruction != instruction || slot.context != Key::context(parent, kind) {
            return None;
        }
        // SAFETY: an instruction is never 0, and whoever writes another writes the counters as well.
        Some(CountedSite { site: slot.site, counters: unsafe { slot.counters.unwrap_unchecked() } })
    }

    /// Remembers a site.
    #[inline(always)]
    pub fn put(&mut self, key: Key, mix: ParentMix, found: CountedSite) {
        let (site, counters) = (found.site, Some(found.counters));
        let slot = Slot { instruction: key.instruction, context: key.context, site, counters };
        // SAFETY: one of the slots, which are held exclusively.
        unsafe { self.slot(key.instruction, key.kind(), mix).write(slot) };
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // SAFETY: there are so many, and a Slot of zeros is an empty one.
        unsafe { self.slots.write_bytes(0, TABLES * SLOTS) };
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::boxed::Box;
    use std::collections::HashMap;

    fn counters(count: u64) -> &'static Counters {
        // SAFETY: a Counters of zeros is an empty one.
        let counters: Box<Counters> = unsafe { Box::new_zeroed().assume_init() };
        counters.count.store(count, core::sync::atomic::Ordering::Relaxed);
        Box::leak(counters)
    }

    /// What it knows is what was put in last under the very same key, or nothing.
    #[test]
    fn never_answers_for_another_key() {
        let mut recent = RecentSites::new(&mut Heap { next_offset: 0 }).unwrap();
        let mut model = HashMap::new();
        let all: std::vec::Vec<_> = (0..100).map(counters).collect();
        let (mut state, mut hits) = (7u64, 0);
        for _ in 0..100_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (parent, kind) = ((state >> 40) as u32 % 50, [14, 15, 0xff, 0xfe][(state >> 50) as usize % 4]);
            let key = Key { instruction: 1 + (state >> 20) % 500, context: Key::context(parent, kind) };
            let mix = ParentMix::of(parent);
            match recent.get(key.instruction, kind, parent, mix) {
                Some(found) => {
                    hits += 1;
                    assert_eq!(Some(&found.site), model.get(&(key.instruction, key.context)));
                    assert_eq!(u64::from(found.site), found.counters.live_count() as u64);
                }
                None => {
                    let site = (state >> 33) as u32 % 100;
                    recent.put(key, mix, CountedSite { site, counters: all[site as usize] });
                    model.insert((key.instruction, key.context), site);
                }
            }
            if state % 5000 == 0 {
                recent.clear();
                model.clear();
            }
        }
        assert!(hits > 100, "{hits}");
    }
}
