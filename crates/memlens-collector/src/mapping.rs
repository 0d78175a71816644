//! The shared file as mapped memory: the only `unsafe` code of this crate.
//!
//! The program on the other side may write anything at any time, so nothing here hands out a plain reference to its
//! memory: records consist of atomics alone ([`Record`]), and bytes are copied out. Every access is checked against the
//! size of the mapping. The file cannot shrink under it: the server seals its size ([`crate::Server`]).
use crate::Error;
use memlens_format::shared::{CodeRecord, Counters, Header, Lane, NodeRecord, SiteRecord};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};

/// A type of the shared layout.
///
/// # Safety
/// It must consist of atomics only (any bytes are a value of it, and another process may change them at any time), and
/// must not need an alignment of more than a page.
pub unsafe trait Record {}

// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for Header {}
// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for NodeRecord {}
// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for SiteRecord {}
// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for CodeRecord {}
// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for Lane {}
// SAFETY: `repr(C)`, atomics only.
unsafe impl Record for Counters {}

/// A mapped part of a shared file, from its first byte on.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: by reference only atomics are reached, and bytes are copied out; a thread of this process does no more to them than another
// process may do at any time. It is unmapped by its owner alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes to read.
    pub fn read_only(file: impl AsFd, length: usize) -> Result<Self, Error> {
        Self::new(file, length, ProtFlags::READ)
    }

    /// Maps the first `length` bytes to read and write.
    pub fn writable(file: impl AsFd, length: usize) -> Result<Self, Error> {
        Self::new(file, length, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn new(file: impl AsFd, length: usize, protection: ProtFlags) -> Result<Self, Error> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: the address is left to the kernel, so that no existing mapping is touched.
        let start = unsafe { mmap(null_mut(), length, protection, flags, file, 0) }.map_err(Error::Mapping)?;
        let start = NonNull::new(start.cast()).ok_or(Error::Mapping(rustix::io::Errno::NOMEM))?;
        Ok(Self { start, length })
    }

    /// The record at `offset`; `None` if it does not lie within the mapping or is not aligned.
    pub fn record<T: Record>(&self, offset: u64) -> Option<&T> {
        self.records(offset, 1)?.first()
    }

    /// `count` records from `offset` on; `None` if they do not lie within the mapping or are not aligned.
    pub fn records<T: Record>(&self, offset: u64, count: usize) -> Option<&[T]> {
        let start = self.checked(offset, count.checked_mul(size_of::<T>())?)?.cast::<T>();
        if !start.is_aligned() {
            return None;
        }
        // SAFETY: the range lies within the mapping (`checked`), which lives as long as `self`; it is aligned; `T: Record`
        // takes any bytes and tolerates their change.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// Appends a copy of `count` bytes from `offset` on to `target`; `None` if they do not lie within the mapping.
    pub fn copy_bytes(&self, offset: u64, count: usize, target: &mut Vec<u8>) -> Option<()> {
        let start = self.checked(offset, count)?;
        target.reserve(count);
        let free = target.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: the source lies within the mapping (`checked`), the target has been reserved, and the two cannot overlap.
        // The other process writes text once, before its record; if it does otherwise, only these bytes are wrong.
        unsafe { std::ptr::copy_nonoverlapping(start.as_ptr(), free, count) };
        // SAFETY: `count` bytes behind the old end have just been written.
        unsafe { target.set_len(target.len() + count) };
        Some(())
    }

    fn checked(&self, offset: u64, bytes: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(bytes)?;
        if end > self.length {
            return None;
        }
        // SAFETY: `offset` is at most `length`, so the result is within the mapping or one past its end.
        Some(unsafe { self.start.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range; no reference into it outlives `self`. A failure leaves it mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
