//! Where the agent's memory comes from: the kernel, never an allocator.
//!
//! Private memory is a bump pointer over anonymous mappings. Shared memory is a bump pointer over the collector's file, mapped piece by piece
//! as it is needed, so that the program's address space (and what `RLIMIT_AS` counts) grows only by what is used. The
//! file's descriptor is closed at once, lest the program see it: a further piece is had by `mremap` of the last mapped page with an old
//! size of 0, which makes a second, longer mapping of a shared file from that page on (man 2 mremap).
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, c_long, c_void};
use memlens_format::shared::Head;
use memlens_recorder::Memory;

const PAGE: usize = 4096;
/// Of x86-64. A table of this size is scattered over by its hash, so that all of it is touched: as few huge pages as possible.
const HUGE_PAGE: usize = 2 << 20;
const PIECE: usize = 2 << 20;
/// Memory from this size on has a mapping of its own.
const SEPARATE: usize = PIECE / 4;
const ALIGNMENT: usize = 64;
/// Sizes of small tables: they grow by doubling.
const FREE_LISTS: usize = 24;

fn round_up(value: usize, to: usize) -> usize {
    value.div_ceil(to) * to
}

/// The source of private and shared memory of this process.
pub struct ProcessMemory {
    private: Piece,
    /// What was given back and is smaller than [`SEPARATE`]: of each size a list, linked through the first word of each block.
    free: [FreeList; FREE_LISTS],
    shared: Piece,
    /// Offset in the file of `shared.next`.
    shared_offset: u64,
    /// The last mapped page, and the offset just behind it.
    last_page: *mut u8,
    mapped_end: u64,
    file_bytes: u64,
    arena_next: *const AtomicU64,
}

// SAFETY: it is used under the lock only.
unsafe impl Send for ProcessMemory {}

/// Blocks of one size; 0 while there is none.
#[derive(Clone, Copy)]
struct FreeList {
    bytes: usize,
    first: *mut u8,
}

impl FreeList {
    const EMPTY: Self = Self { bytes: 0, first: null_mut() };
}

#[derive(Clone, Copy)]
struct Piece {
    next: *mut u8,
    end: *mut u8,
}

impl Piece {
    const EMPTY: Self = Self { next: null_mut(), end: null_mut() };

    fn take(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        if (self.end as usize) - (self.next as usize) < bytes {
            return None;
        }
        let taken = NonNull::new(self.next)?;
        self.next = self.next.wrapping_add(bytes);
        Some(taken)
    }
}

/// `mmap` past our own hook.
pub fn map(bytes: usize, flags: i32, descriptor: i32) -> Option<NonNull<u8>> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
    let pointer = unsafe {
        libc::syscall(libc::SYS_mmap, 0 as c_long, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0 as c_long)
    } as *mut u8;
    NonNull::new(pointer).filter(|pointer| pointer.as_ptr().cast::<c_void>() != MAP_FAILED)
}

impl ProcessMemory {
    /// No memory at all.
    pub const NONE: Self = Self {
        private: Piece::EMPTY,
        free: [FreeList::EMPTY; FREE_LISTS],
        shared: Piece::EMPTY,
        shared_offset: 0,
        last_page: null_mut(),
        mapped_end: 0,
        file_bytes: 0,
        arena_next: core::ptr::null(),
    };

    /// Maps the head of the collector's file.
    pub fn open(&mut self, descriptor: i32, file_bytes: u64) -> Option<&'static Head> {
        let bytes = round_up(size_of::<Head>(), PAGE) + PIECE;
        if (file_bytes as usize) < bytes {
            return None;
        }
        let start = map(bytes, MAP_SHARED | MAP_NORESERVE, descriptor)?;
        // SAFETY: the mapping is larger than a Head, whose fields are atomics, valid as they are; it stays mapped.
        let head = unsafe { start.cast::<Head>().as_ref() };
        let used = round_up(size_of::<Head>(), PAGE);
        let end = start.as_ptr().wrapping_add(bytes);
        self.shared = Piece { next: start.as_ptr().wrapping_add(used), end };
        self.shared_offset = used as u64;
        self.last_page = end.wrapping_sub(PAGE);
        self.mapped_end = bytes as u64;
        self.file_bytes = file_bytes;
        self.arena_next = &head.header.arena_next;
        head.header.arena_next.store(used as u64, Relaxed);
        Some(head)
    }

    /// Gives back what is smaller than [`SEPARATE`] and private, of which there must not be more than one piece.
    ///
    /// # Safety
    /// Nobody may use any of it any more.
    pub unsafe fn abandon(self) {
        if !self.private.end.is_null() {
            unmap(self.private.end.wrapping_sub(PIECE), PIECE);
        }
    }

    /// A block that was given back, zeroed again.
    fn reuse(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let list = self.free.iter_mut().find(|list| list.bytes == bytes)?;
        let block = NonNull::new(list.first)?;
        // SAFETY: a block of ours of that size, aligned to ALIGNMENT, that nobody uses; its first word leads to the next.
        unsafe {
            list.first = block.cast::<*mut u8>().read();
            block.write_bytes(0, bytes);
        }
        Some(block)
    }

    /// Keeps a block for [`ProcessMemory::reuse`]. Should there be more sizes than lists, it is lost.
    fn keep(&mut self, block: NonNull<u8>, bytes: usize) {
        let Some(list) = self.free.iter_mut().find(|list| list.bytes == bytes || list.bytes == 0) else { return };
        list.bytes = bytes;
        // SAFETY: the caller of `give_back` says that nobody uses it any more; it is at least ALIGNMENT bytes long, and aligned.
        unsafe { block.cast::<*mut u8>().write(list.first) };
        list.first = block.as_ptr();
    }

    /// Maps the next `bytes` of the file, whole pages. Returns where, and their offset.
    fn map_shared(&mut self, bytes: usize) -> Option<(*mut u8, u64)> {
        if self.mapped_end + bytes as u64 > self.file_bytes {
            return None;
        }
        // SAFETY: `last_page` is a shared mapping of ours; with an old size of 0 it stays, and the kernel chooses the new address.
        let start = unsafe {
            libc::syscall(libc::SYS_mremap, self.last_page, 0usize, PAGE + bytes, libc::MREMAP_MAYMOVE, 0 as c_long)
        } as *mut u8;
        if start.is_null() || start.cast::<c_void>() == MAP_FAILED {
            return None;
        }
        let offset = self.mapped_end;
        self.last_page = start.wrapping_add(bytes);
        self.mapped_end += bytes as u64;
        Some((start.wrapping_add(PAGE), offset))
    }
}

/// A private mapping of whole huge pages, if the kernel has some.
fn map_huge(bytes: usize) -> Option<NonNull<u8>> {
    let start = map(bytes + HUGE_PAGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1)?.as_ptr();
    let skipped = start.align_offset(HUGE_PAGE);
    let aligned = start.wrapping_add(skipped);
    unmap(start, skipped);
    unmap(aligned.wrapping_add(bytes), HUGE_PAGE - skipped);
    // SAFETY: a mapping of our own; whether the advice is taken does not matter.
    unsafe { libc::syscall(libc::SYS_madvise, aligned, bytes, libc::MADV_HUGEPAGE) };
    NonNull::new(aligned)
}

/// `munmap` past our own hook, of a mapping of our own that nobody uses.
fn unmap(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the callers' mappings.
        unsafe { libc::syscall(libc::SYS_munmap, start, bytes) };
    }
}

/// Makes the pages of private memory of ours exist.
fn populate(start: NonNull<u8>, bytes: usize) {
    let skipped = start.as_ptr().align_offset(PAGE);
    let bytes = bytes.saturating_sub(skipped) & !(PAGE - 1);
    // SAFETY: memory of our own, which stays what it is. Linux before 5.14 knows no such advice, which does not matter.
    unsafe { libc::syscall(libc::SYS_madvise, start.as_ptr().wrapping_add(skipped), bytes, libc::MADV_POPULATE_WRITE) };
}

// SAFETY: fresh mappings are zeroed, and so is the collector's sparse file; bump pointers hand out each byte once, at
// multiples of ALIGNMENT; only what is given back is unmapped.
unsafe impl Memory for ProcessMemory {
    fn private(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = round_up(bytes.max(1), ALIGNMENT);
        if let Some(taken) = self.reuse(bytes).or_else(|| self.private.take(bytes)) {
            return Some(taken);
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        if bytes >= SEPARATE {
            return map(round_up(bytes, PAGE), flags, -1);
        }
        let start = map(PIECE, flags, -1)?;
        self.private = Piece { next: start.as_ptr(), end: start.as_ptr().wrapping_add(PIECE) };
        self.private.take(bytes)
    }

    fn table(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let is_huge = bytes >= SEPARATE && bytes.is_multiple_of(HUGE_PAGE);
        let start = if is_huge { map_huge(bytes)? } else { self.private(bytes)? };
        populate(start, bytes);
        Some(start)
    }

    fn shared(&mut self, bytes: usize) -> Option<(NonNull<u8>, u64)> {
        let bytes = round_up(bytes.max(1), ALIGNMENT);
        let (taken, offset) = if bytes >= SEPARATE {
            // What is left of the piece is for what is small.
            let (start, offset) = self.map_shared(round_up(bytes, PAGE))?;
            (NonNull::new(start)?, offset)
        } else {
            if (self.shared.end as usize) - (self.shared.next as usize) < bytes {
                let (start, offset) = self.map_shared(PIECE)?;
                self.shared = Piece { next: start, end: start.wrapping_add(PIECE) };
                self.shared_offset = offset;
            }
            let offset = self.shared_offset;
            self.shared_offset += bytes as u64;
            (self.shared.take(bytes)?, offset)
        };
        // SAFETY: it points into the header, which stays mapped.
        unsafe { (*self.arena_next).fetch_max(offset + bytes as u64, Relaxed) };
        Some((taken, offset))
    }

    unsafe fn give_back(&mut self, start: NonNull<u8>, bytes: usize) {
        let bytes = round_up(bytes.max(1), ALIGNMENT);
        if bytes >= SEPARATE {
            unmap(start.as_ptr(), round_up(bytes, PAGE));
        } else {
            // Each thread that ends leaves its stack: they were lost once, 2 KiB a thread.
            self.keep(start, bytes);
        }
    }
}
