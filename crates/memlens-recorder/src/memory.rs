//! Where the recorder's memory comes from.
use core::ptr::NonNull;

/// A source of zeroed memory. Shared memory is never given back.
///
/// # Safety
/// What it returns is zeroed, writable, aligned as asked for (at least 64 bytes where more is not asked), used by nobody
/// else, and stays mapped for the life of the process, or until it is given back.
pub unsafe trait Memory {
    /// Memory that only this process sees.
    fn private(&mut self, bytes: usize) -> Option<NonNull<u8>>;
    /// [`Memory::private`] for a hash table, which soon touches all of its pages, and reads each before it writes to it: page by page that would
    /// be two faults each.
    fn table(&mut self, bytes: usize) -> Option<NonNull<u8>>;
    /// Memory that the collector sees as well, and its offset in the shared file.
    fn shared(&mut self, bytes: usize) -> Option<(NonNull<u8>, u64)>;
    /// Private memory that is needed no more.
    ///
    /// # Safety
    /// It must be what [`Memory::private`] or [`Memory::table`] returned for as many bytes, and nobody may use it any more.
    unsafe fn give_back(&mut self, start: NonNull<u8>, bytes: usize);
}

/// A private, zeroed array of `count` elements.
///
/// # Safety
/// All zeros must be a valid `T`.
pub(crate) unsafe fn private_array<T>(memory: &mut impl Memory, count: usize) -> Option<NonNull<T>> {
    Some(memory.private(count.checked_mul(size_of::<T>())?)?.cast())
}

/// A private, zeroed array for a hash table: see [`Memory::table`].
///
/// # Safety
/// All zeros must be a valid `T`.
pub(crate) unsafe fn table_array<T>(memory: &mut impl Memory, count: usize) -> Option<NonNull<T>> {
    Some(memory.table(count.checked_mul(size_of::<T>())?)?.cast())
}

/// Gives a private array back.
///
/// # Safety
/// As [`Memory::give_back`]; it must be what [`private_array`] or [`table_array`] returned for as many elements.
pub(crate) unsafe fn give_back_array<T>(memory: &mut impl Memory, array: NonNull<T>, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory.give_back(array.cast(), count * size_of::<T>()) };
}

/// Test memory: the heap, leaked.
#[cfg(test)]
pub(crate) mod test_memory {
    extern crate std;
    use super::*;
    use std::alloc::{Layout, alloc_zeroed};

    pub struct Heap {
        pub next_offset: u64,
    }

    const PAGE: usize = 4096;

    // SAFETY: alloc_zeroed gives fresh zeroed memory, in which there is room for the way to a page's beginning, and nothing frees it.
    unsafe impl Memory for Heap {
        fn private(&mut self, bytes: usize) -> Option<NonNull<u8>> {
            // Without an alignment of its own, for which all of it would be written.
            let layout = Layout::from_size_align(bytes.max(1) + PAGE, 8).ok()?;
            // SAFETY: the layout has a size, and what is skipped is less than a page.
            unsafe {
                let start = NonNull::new(alloc_zeroed(layout))?;
                Some(start.add(start.align_offset(PAGE)))
            }
        }

        fn table(&mut self, bytes: usize) -> Option<NonNull<u8>> {
            self.private(bytes)
        }

        fn shared(&mut self, bytes: usize) -> Option<(NonNull<u8>, u64)> {
            let offset = self.next_offset;
            self.next_offset += bytes as u64;
            Some((self.private(bytes)?, offset))
        }

        unsafe fn give_back(&mut self, start: NonNull<u8>, bytes: usize) {
            // What is read afterwards shows.
            // SAFETY: the caller's promise.
            unsafe { start.write_bytes(0xdd, bytes) };
        }
    }
}
