//! Which addresses are blocks of the C library's allocator, and how large they are.
//!
//! Nothing is asked of the allocator itself, which other threads may be using: the headers of its blocks are read (glibc
//! `malloc/malloc.c`), through the kernel, and an address is a block only if everything about it fits: the mapping that it lies in, its header, and
//! the header behind it.
//!
//! ```text
//! address - 16: size of the block before, if that one is free      address: what the program got
//! address -  8: size │ 4: of another arena │ 2: a mapping of its own │ 1: the block before is in use
//! ```
use crate::marks::Marks;
use crate::memory::OwnMemory;

const OWN_MAPPING: usize = 2;
const OTHER_ARENA: usize = 4;
const FLAGS: usize = 7;
const HEADER: usize = 16;
const LEAST_CHUNK: usize = 32;
const PAGE: usize = 4096;
/// `HEAP_MAX_SIZE`: the heap of an arena other than the main one begins at a multiple of it.
const ARENA_HEAP: usize = 64 << 20;

/// A block of our own, whose header tells whether the allocator is glibc's.
const PROBE_BYTES: usize = 1000;

fn is_probe(bytes: usize) -> bool {
    (PROBE_BYTES..PROBE_BYTES + HEADER).contains(&bytes)
}

/// A block of the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub address: usize,
    pub bytes: usize,
}

/// A mapping that blocks may lie in.
#[derive(Clone, Copy)]
struct Mapping {
    start: usize,
    end: usize,
    /// `[heap]`, where the main arena has its blocks.
    is_break: bool,
}

/// The blocks of this process.
pub struct Blocks {
    pub memory: OwnMemory,
    mappings: Vec<Mapping>,
    /// Blocks of the main arena that are in use.
    in_use: Marks,
    /// Static data of libraries, as start and end.
    static_data: Vec<(usize, usize)>,
}

impl Blocks {
    /// Nothing if the process uses another allocator than glibc's.
    pub fn read() -> Option<Self> {
        // SAFETY: a block of our own, which is released below.
        let probe = unsafe { libc::malloc(PROBE_BYTES) };
        let blocks = Self::of_process().filter(|blocks| blocks.block(probe as usize).is_some_and(is_probe));
        // SAFETY: the block of above.
        unsafe { libc::free(probe) };
        blocks
    }

    fn of_process() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut blocks =
            Self { memory: OwnMemory::open()?, mappings: Vec::new(), in_use: Marks::new(), static_data: Vec::new() };
        for line in text.lines() {
            blocks.add_mapping(line);
        }
        blocks.mark_in_use();
        Some(blocks)
    }

    /// Along the blocks of the main arena, from the first: what stands in released memory looks like blocks as well. The last one is room to grow.
    fn mark_in_use(&mut self) {
        let Some(heap) = self.mappings.iter().find(|mapping| mapping.is_break).copied() else {
            return;
        };
        let mut chunk = heap.start;
        loop {
            let next = chunk + (self.memory.word(chunk + HEADER / 2) & !FLAGS);
            if next < chunk + LEAST_CHUNK || next + HEADER > heap.end {
                break;
            }
            if self.memory.word(next + HEADER / 2) & 1 == 1 {
                self.in_use.insert(chunk + HEADER);
            }
            chunk = next;
        }
    }

    /// A line of `/proc/self/maps` (proc(5)): `start-end perms offset device inode path`.
    fn add_mapping(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        if words.next()? != "rw-p" {
            return None;
        }
        match words.nth(3) {
            None => self.mappings.push(Mapping { start, end, is_break: false }),
            Some("[heap]") => self.mappings.push(Mapping { start, end, is_break: true }),
            Some(path) if path.starts_with('/') => self.static_data.push((start, end)),
            Some(_) => {}
        }
        Some(())
    }

    fn mapping(&self, address: usize) -> Option<Mapping> {
        let at = self.mappings.partition_point(|mapping| mapping.end <= address);
        self.mappings.get(at).copied().filter(|mapping| mapping.start + HEADER <= address)
    }

    /// The block that a pointer leads to: its address and the bytes that it has room for. SQLite puts the size of each of its blocks in front
    /// of it, in eight bytes.
    pub fn block_of(&self, pointer: usize) -> Option<Block> {
        if pointer.is_multiple_of(16) {
            return Some(Block { address: pointer, bytes: self.block(pointer)? });
        }
        let start = pointer.checked_sub(8)?;
        let bytes = self.block(start)?;
        let stated = self.memory.word(start);
        (stated + 8 <= bytes && bytes - stated <= LEAST_CHUNK).then_some(Block { address: start, bytes })
    }

    /// Bytes that the block at this address has room for; nothing if it is none.
    pub fn block(&self, address: usize) -> Option<usize> {
        let mapping = self.mapping(address).filter(|_| address.is_multiple_of(16))?;
        let (before, header) = (self.memory.word(address - HEADER), self.memory.word(address - HEADER / 2));
        let bytes = header & !FLAGS;
        let end = (address - HEADER).checked_add(bytes).filter(|_| bytes >= LEAST_CHUNK)?;
        if header & OWN_MAPPING != 0 {
            let start = (address - HEADER).checked_sub(before)?;
            let fits = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE) && self.memory.is_readable(end - 1);
            return (fits && header & OTHER_ARENA == 0).then_some(bytes - HEADER);
        }
        let is_in_use = match header & OTHER_ARENA != 0 {
            true => !mapping.is_break && self.is_in_arena_heap(address) && self.is_in_use_before(end),
            false => mapping.is_break && self.in_use.contains(address),
        };
        (is_in_use && end < mapping.end).then_some(bytes - HEADER / 2)
    }

    /// The block that ends here is in use, says the header behind it.
    fn is_in_use_before(&self, end: usize) -> bool {
        let header = self.memory.word(end + HEADER / 2);
        header & 1 == 1 && header & !FLAGS >= HEADER
    }

    /// `heap_info`: the arena, the heap before this one, its size.
    fn is_in_arena_heap(&self, address: usize) -> bool {
        let heap = address & !(ARENA_HEAP - 1);
        let (arena, size) = (self.memory.word(heap), self.memory.word(heap + 16));
        size <= ARENA_HEAP && address < heap + size && arena.is_multiple_of(8) && self.memory.is_readable(arena)
    }

    /// The words of the libraries' static data.
    pub fn static_words(&self) -> impl Iterator<Item = usize> {
        self.static_data.iter().flat_map(|(start, end)| self.words(*start, (end - start) / 8))
    }

    /// Words from an address on.
    pub fn words(&self, address: usize, count: usize) -> impl Iterator<Item = usize> {
        (0..count).map(move |at| self.memory.word(address + 8 * at))
    }
}
