//! How large the buffers are of which a polars column shows a part.
//!
//! Arrow's interface says where a buffer begins and what of it is shown, not where it ends. The exported array keeps polars' own array
//! alive by a pointer. In that, or one step further, each buffer stands as (storage, address, length in items), a bitmap with its first
//! bit in place of the address. The storage, six words in all, has the same address, followed by its length in bytes, and a reference count.
//! The order of the other fields is the Rust compiler's. What does not have this shape is not believed, and the shown part is given. Memory
//! is read through the kernel, which refuses where there is none.
use crate::memory::OwnMemory;
use rustc_hash::FxHashMap;

/// Words that are read of the exported array's private part, and of each structure that it leads to.
const PRIVATE_WORDS: usize = 8;
const STRUCTURE_WORDS: usize = 24;
/// A storage: what frees it (three words), its reference count, its address and its length.
const STORAGE_WORDS: usize = 6;
/// No storage is shared by more.
const MOST_REFERENCES: usize = 1 << 32;
/// No buffer is as long: what is larger is an address.
const MOST_BYTES: usize = 1 << 40;
/// No address is as low, that of an empty buffer apart, nor as high.
const LEAST: usize = 1 << 16;
const MOST: usize = 1 << 47;

/// The storages that an exported array keeps alive.
pub struct Storages<'a> {
    memory: &'a OwnMemory,
    /// The length of the storage that begins at the address of a buffer.
    lengths: FxHashMap<usize, usize>,
}

impl<'a> Storages<'a> {
    /// Searches for the storages of the buffers at these addresses.
    pub fn find(memory: &'a OwnMemory, private: usize, buffers: &[usize]) -> Self {
        let mut storages = Self { memory, lengths: FxHashMap::default() };
        let buffers: Vec<usize> = buffers.iter().copied().filter(|buffer| (LEAST..MOST).contains(buffer)).collect();
        for array in memory.words(private, PRIVATE_WORDS).into_iter().filter(is_pointer) {
            let fields = memory.words(array, STRUCTURE_WORDS);
            storages.find_in(&fields, &buffers);
            for field in fields.into_iter().filter(is_pointer).filter(|field| !buffers.contains(field)) {
                storages.find_in(&memory.words(field, STRUCTURE_WORDS), &buffers);
            }
        }
        storages
    }

    /// Searches for them among the words of one structure: each is a storage, a place in it, and how many items are there.
    fn find_in(&mut self, words: &[usize], buffers: &[usize]) {
        for part in words.windows(3) {
            let &[storage, place, items] = part else { continue };
            if !is_pointer(&storage) || place >= MOST || !(1..MOST_BYTES).contains(&items) {
                continue;
            }
            let storage = self.memory.words(storage, STORAGE_WORDS);
            let is_shared = storage.iter().any(|count| (1..MOST_REFERENCES).contains(count));
            let shows_it = |field: &&[usize]| {
                let (address, bytes) = (field[0], field[1]);
                let is_length = (1..MOST_BYTES).contains(&bytes);
                buffers.contains(&address)
                    && is_length
                    && ((address..address + bytes).contains(&place) || place + items <= bytes * 8)
            };
            if let (Some(field), true) = (storage.windows(2).find(shows_it), is_shared) {
                self.lengths.insert(field[0], field[1]);
            }
        }
    }

    /// Bytes of the buffer at an address, of which `shown` are known to be there.
    pub fn whole(&self, address: usize, shown: usize) -> usize {
        let length = self.lengths.get(&address).copied().filter(|length| *length > shown);
        length.filter(|length| self.memory.is_readable(address + length - 1)).unwrap_or(shown)
    }
}

fn is_pointer(word: &usize) -> bool {
    word.is_multiple_of(8) && (LEAST..MOST).contains(word)
}
