//! Memory of this process by address, where nobody promises that there is any: read through the kernel, which refuses instead of
//! ending the process. What was read is kept, for the next address is most often near; it is kept in pages of the kernel's own, for whoever
//! reads the allocator's blocks must not change them.
use std::cell::UnsafeCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a word, of a page, and of what is read at a time.
const WORD: usize = 8;
const PAGE: usize = 4096;
const CHUNK: usize = 1 << 16;
/// Chunks that are kept, each at the place that its number gives.
const CHUNKS: usize = 512;
/// No chunk has this number.
const NO_CHUNK: usize = usize::MAX;

/// `/proc/self/mem`.
pub struct OwnMemory {
    file: File,
    cache: UnsafeCell<Cache>,
}

impl OwnMemory {
    /// Nothing where `/proc` is not there.
    pub fn open() -> Option<Self> {
        let file = File::open("/proc/self/mem").ok()?;
        Some(Self { file, cache: UnsafeCell::new(Cache::new()?) })
    }

    /// The words from an address on, as many as can be read and `count` at most.
    pub fn words(&self, address: usize, count: usize) -> Vec<usize> {
        let mut bytes = vec![0; count * WORD];
        let read = self.file.read_at(&mut bytes, address as u64).unwrap_or(0);
        bytes.truncate(read);
        bytes.chunks_exact(WORD).map(word).collect()
    }

    /// The word at an address that is a multiple of eight; 0 where there is no memory.
    pub fn word(&self, address: usize) -> usize {
        // SAFETY: the type is not `Sync`, and no reference into the cache leaves this function.
        let cache = unsafe { &mut *self.cache.get() };
        let chunk = cache.chunk(address / CHUNK, |start, bytes| self.read_chunk(start, bytes));
        let at = address % CHUNK & !(WORD - 1);
        chunk.get(at..at + WORD).map_or(0, word)
    }

    /// What is no memory reads as zeros.
    fn read_chunk(&self, start: usize, bytes: &mut [u8]) {
        if self.file.read_at(bytes, start as u64).is_ok_and(|read| read == CHUNK) {
            return;
        }
        for (at, page) in bytes.chunks_mut(PAGE).enumerate() {
            if !self.file.read_at(page, (start + at * PAGE) as u64).is_ok_and(|read| read == PAGE) {
                page.fill(0);
            }
        }
    }

    /// Whether there is memory at an address.
    pub fn is_readable(&self, address: usize) -> bool {
        self.file.read_at(&mut [0], address as u64).is_ok_and(|read| read == 1)
    }
}

fn word(bytes: &[u8]) -> usize {
    usize::from_le_bytes(bytes.try_into().unwrap_or([0; WORD]))
}

/// A mapping of chunks.
struct Cache {
    chunks: *mut u8,
    numbers: [usize; CHUNKS],
}

impl Cache {
    fn new() -> Option<Self> {
        // SAFETY: a mapping of its own, at no fixed address.
        let chunks = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), CHUNKS * CHUNK, access, kind, -1, 0)
        };
        (chunks != libc::MAP_FAILED).then_some(Self { chunks: chunks.cast(), numbers: [NO_CHUNK; CHUNKS] })
    }

    fn chunk(&mut self, number: usize, read: impl FnOnce(usize, &mut [u8])) -> &[u8] {
        let place = number % CHUNKS;
        // SAFETY: the mapping has so many chunks, and `self` is borrowed as long as the slice lives.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.chunks.add(place * CHUNK), CHUNK) };
        if std::mem::replace(&mut self.numbers[place], number) != number {
            read(number * CHUNK, bytes);
        }
        bytes
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.chunks.cast(), CHUNKS * CHUNK) };
    }
}
