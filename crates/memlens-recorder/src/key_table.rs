//! The fast way to a site: (parent node, kind, instruction) → node or site, one probe in the usual case.
//!
//! The key names an instruction by its *address* (or whatever else the interpreter reader makes of it), which is
//! unique only while the code object lives: an entry must be removed when its code object is released. One writer, one
//! reader: each lane has a table of its own.
use crate::memory::{Memory, give_back_array, table_array};
use core::ptr::NonNull;

/// What the table looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The instruction, as the interpreter reader names it. Never 0.
    pub instruction: u64,
    /// Parent node (24 bits) and kind (8 bits), by [`Key::context`].
    pub context: u32,
}

impl Key {
    /// Packs a node, below 2^24, and a kind.
    #[inline(always)]
    pub fn context(parent: u32, kind: u8) -> u32 {
        u32::from(kind) << 24 | parent
    }

    /// The kind.
    #[inline(always)]
    pub fn kind(self) -> u8 {
        (self.context >> 24) as u8
    }

    /// Every bit of the key reaches the upper half of the last product, which is what is used: the same instruction under many parents,
    /// and many instructions under one, must not gather in runs. The kind is mostly known when this is compiled.
    #[inline(always)]
    fn hash(self) -> u64 {
        let kind = u64::from(u32::from(self.kind()).wrapping_mul(0x9E37_79B1) >> 1);
        let parent = u64::from(self.context & 0x00ff_ffff).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (self.instruction.wrapping_add(kind) ^ parent).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    instruction: u64,
    context: u32,
    value: u32,
}

/// The table. It grows by doubling.
pub struct KeyTable {
    entries: NonNull<Entry>,
    mask: usize,
    used: usize,
}

impl KeyTable {
    /// An empty table with room for `capacity` (a power of two) entries, two thirds of which can be used.
    pub fn new(memory: &mut impl Memory, capacity: usize) -> Option<Self> {
        // SAFETY: an Entry of zeros is an empty slot.
        let entries = unsafe { table_array(memory, capacity)? };
        Some(Self { entries, mask: capacity - 1, used: 0 })
    }

    #[inline(always)]
    fn entry(&self, index: usize) -> NonNull<Entry> {
        // SAFETY: there are `mask + 1` entries, and the index is masked to that.
        unsafe { self.entries.add(index & self.mask) }
    }

    /// Budget: one multiplication, one cache line.
    #[inline(always)]
    pub fn get(&self, key: Key) -> Option<u32> {
        self.find(key, key.hash())
    }

    #[inline(always)]
    fn find(&self, key: Key, hash: u64) -> Option<u32> {
        let mut index = hash as usize;
        loop {
            // SAFETY: `entry` returns a slot of the table.
            let entry = unsafe { self.entry(index).as_ref() };
            if entry.instruction == key.instruction && entry.context == key.context {
                return Some(entry.value);
            }
            if entry.instruction == 0 {
                return None;
            }
            index = index.wrapping_add(1);
        }
    }

    /// Adds an entry that is not there yet. False if there is no memory.
    pub fn insert(&mut self, memory: &mut impl Memory, key: Key, value: u32) -> bool {
        if (self.used + 1) * 3 > (self.mask + 1) * 2 && !self.grow(memory) {
            return false;
        }
        self.put(Entry { instruction: key.instruction, context: key.context, value });
        self.used += 1;
        true
    }

    fn put(&mut self, entry: Entry) {
        let mut index = Key { instruction: entry.instruction, context: entry.context }.hash() as usize;
        loop {
            let slot = self.entry(index);
            // SAFETY: a slot of the table, which we hold exclusively.
            unsafe {
                if slot.as_ref().instruction == 0 {
                    slot.write(entry);
                    return;
                }
            }
            index = index.wrapping_add(1);
        }
    }

    fn grow(&mut self, memory: &mut impl Memory) -> bool {
        let old = (self.entries, self.mask + 1);
        // SAFETY: an Entry of zeros is an empty slot.
        let Some(entries) = (unsafe { table_array(memory, old.1 * 2) }) else { return false };
        (self.entries, self.mask) = (entries, old.1 * 2 - 1);
        for index in 0..old.1 {
            // SAFETY: the old table has that many entries.
            let entry = unsafe { *old.0.add(index).as_ref() };
            if entry.instruction != 0 {
                self.put(entry);
            }
        }
        // SAFETY: nothing else refers to the old table.
        unsafe { give_back_array(memory, old.0, old.1) };
        true
    }

    /// Removes an entry, if it is there, and moves the rest of its run back.
    pub fn remove(&mut self, key: Key) {
        let mut hole = key.hash() as usize & self.mask;
        loop {
            // SAFETY: a slot of the table.
            let entry = unsafe { *self.entry(hole).as_ref() };
            if entry.instruction == 0 {
                return;
            }
            if entry.instruction == key.instruction && entry.context == key.context {
                break;
            }
            hole = (hole + 1) & self.mask;
        }
        self.used -= 1;
        let mut index = hole;
        loop {
            index = (index + 1) & self.mask;
            // SAFETY: a slot of the table.
            let entry = unsafe { *self.entry(index).as_ref() };
            if entry.instruction == 0 {
                break;
            }
            let home = Key { instruction: entry.instruction, context: entry.context }.hash() as usize;
            if index.wrapping_sub(home) & self.mask >= index.wrapping_sub(hole) & self.mask {
                // SAFETY: a slot of the table, which we hold exclusively.
                unsafe { self.entry(hole).write(entry) };
                hole = index;
            }
        }
        // SAFETY: a slot of the table, which we hold exclusively.
        unsafe { self.entry(hole).write(Entry { instruction: 0, context: 0, value: 0 }) };
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // SAFETY: the table has `mask + 1` entries, and an Entry of zeros is an empty slot.
        unsafe { self.entries.write_bytes(0, self.mask + 1) };
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::test_memory::Heap;
    use std::collections::HashMap;

    #[test]
    fn equals_a_hash_map_through_growth_and_removal() {
        let mut heap = Heap { next_offset: 0 };
        let mut table = KeyTable::new(&mut heap, 16).unwrap();
        let mut model = HashMap::new();
        let mut state = 99u64;
        for step in 0..50_000u32 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = Key { instruction: 1 + (state >> 40) % 3000, context: (state >> 20) as u32 % 3 };
            if state >> 63 == 0 {
                model.entry((key.instruction, key.context)).or_insert_with(|| {
                    assert!(table.insert(&mut heap, key, step));
                    step
                });
            } else {
                table.remove(key);
                model.remove(&(key.instruction, key.context));
            }
            assert_eq!(table.get(key), model.get(&(key.instruction, key.context)).copied());
        }
        for ((instruction, context), value) in model {
            assert_eq!(table.get(Key { instruction, context }), Some(value));
        }
    }
}
