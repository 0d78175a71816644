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
use crate::memory::OwnMemory;
use std::ffi::CStr;

const OWN_MAPPING: usize = 2;
const OTHER_ARENA: usize = 4;
const FLAGS: usize = 7;
const HEADER: usize = 16;
const LEAST_CHUNK: usize = 32;
const PAGE: usize = 4096;
/// `HEAP_MAX_SIZE`: the heap of an arena other than the main one begins at a multiple of it.
const ARENA_HEAP: usize = 64 << 20;

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
    /// Static data of libraries, as start and end.
    static_data: Vec<(usize, usize)>,
}

impl Blocks {
    /// Nothing if the process uses another allocator than glibc's.
    pub fn read() -> Option<Self> {
        if !is_glibc() {
            return None;
        }
        let text = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut blocks = Self { memory: OwnMemory::open()?, mappings: Vec::new(), static_data: Vec::new() };
        for line in text.lines() {
            blocks.add_mapping(line);
        }
        Some(blocks)
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

    /// Bytes that the block at this address has room for; nothing if it is none.
    pub fn block(&self, address: usize) -> Option<usize> {
        let mapping = self.mapping(address).filter(|_| address.is_multiple_of(16))?;
        let [before, header] = self.memory.words(address - HEADER, 2).try_into().ok()?;
        let bytes = header & !FLAGS;
        let end = (address - HEADER).checked_add(bytes).filter(|_| bytes >= LEAST_CHUNK)?;
        if header & OWN_MAPPING != 0 {
            let start = (address - HEADER).checked_sub(before)?;
            let fits = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE) && self.memory.is_readable(end - 1);
            return (fits && header & OTHER_ARENA == 0).then_some(bytes - HEADER);
        }
        let is_its_arena = match header & OTHER_ARENA != 0 {
            true => !mapping.is_break && self.is_in_arena_heap(address),
            false => mapping.is_break,
        };
        (is_its_arena && end < mapping.end && self.is_in_use_before(end)).then_some(bytes - HEADER / 2)
    }

    /// The block that ends here is in use, says the header behind it.
    fn is_in_use_before(&self, end: usize) -> bool {
        let header = self.memory.words(end + HEADER / 2, 1);
        header.first().is_some_and(|header| header & 1 == 1 && header & !FLAGS >= HEADER)
    }

    /// `heap_info`: the arena, the heap before this one, its size.
    fn is_in_arena_heap(&self, address: usize) -> bool {
        let heap = address & !(ARENA_HEAP - 1);
        match self.memory.words(heap, 3).as_slice() {
            [arena, _, size] => (*size <= ARENA_HEAP && address < heap + size) && self.memory.is_readable(*arena),
            _ => false,
        }
    }

    /// The words of the libraries' static data.
    pub fn static_words(&self) -> impl Iterator<Item = usize> {
        self.static_data.iter().flat_map(|(start, end)| self.memory.words(*start, (end - start) / 8))
    }
}

/// Whether `malloc` is glibc's, or the agent's, which hands on to it.
fn is_glibc() -> bool {
    // SAFETY: the names are C strings; `dladdr` fills the structure or says that it did not.
    unsafe {
        let malloc = libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr());
        let mut place: libc::Dl_info = std::mem::zeroed();
        if malloc.is_null() || libc::dladdr(malloc, &raw mut place) == 0 || place.dli_fname.is_null() {
            return false;
        }
        let file = CStr::from_ptr(place.dli_fname).to_string_lossy();
        let name = file.rsplit('/').next().unwrap_or_default();
        let has_glibc = !libc::dlsym(libc::RTLD_DEFAULT, c"gnu_get_libc_version".as_ptr()).is_null();
        has_glibc && (name.starts_with("libc.so") || name.starts_with("libc-2.") || name == "libmemlens_agent.so")
    }
}
