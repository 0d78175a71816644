//! How large the buffers are of which a polars column shows a part.
//!
//! Arrow's interface says where a buffer begins and what of it is shown, not where it ends. The exported array keeps polars' own array
//! alive by a pointer, and that keeps the storage of each buffer, in which the buffer's address and its length stand side by side. The order of the
//! fields is the Rust compiler's, so that the pair is searched for, two steps from the exported array: an address that is exactly the buffer's,
//! followed by a length that no part of it exceeds. Memory is read through the kernel, which refuses where there is none.
use crate::memory::OwnMemory;
use rustc_hash::FxHashMap;

/// Words that are read of the exported array's private part, and of each structure that it leads to.
const PRIVATE_WORDS: usize = 8;
const STRUCTURE_WORDS: usize = 24;
/// No buffer is as long: what is larger is an address.
const MOST_BYTES: usize = 1 << 40;
/// No address is as high.
const MOST: usize = 1 << 47;

/// The storages that an exported array keeps alive.
pub struct Storages<'a> {
    memory: &'a OwnMemory,
    /// Lengths that stand behind the address of a buffer.
    lengths: FxHashMap<usize, Vec<usize>>,
}

impl<'a> Storages<'a> {
    /// Searches for the storages of the buffers at these addresses.
    pub fn find(memory: &'a OwnMemory, private: usize, buffers: &[usize]) -> Self {
        let mut lengths: FxHashMap<usize, Vec<usize>> = buffers.iter().map(|address| (*address, Vec::new())).collect();
        let arrays = memory.words(private, PRIVATE_WORDS).into_iter().filter(is_pointer);
        let fields = arrays.flat_map(|array| memory.words(array, STRUCTURE_WORDS)).filter(is_pointer);
        for storage in fields {
            for pair in memory.words(storage, STRUCTURE_WORDS).windows(2) {
                if let Some(known) = lengths.get_mut(&pair[0]) {
                    known.push(pair[1]);
                }
            }
        }
        Self { memory, lengths }
    }

    /// Bytes of the buffer at an address, of which `shown` are known to be there.
    pub fn whole(&self, address: usize, shown: usize) -> usize {
        let candidates = self.lengths.get(&address).into_iter().flatten().copied();
        let is_there = |length: &usize| self.memory.is_readable(address + length - 1);
        let lengths = candidates.filter(|length| (shown.max(1)..MOST_BYTES).contains(length)).filter(is_there);
        lengths.min().unwrap_or(shown)
    }
}

fn is_pointer(word: &usize) -> bool {
    word.is_multiple_of(8) && (1 << 16..MOST).contains(word)
}
