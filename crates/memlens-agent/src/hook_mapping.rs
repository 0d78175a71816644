//! Memory that the program asks of the kernel itself: `mmap`, `munmap`, `mremap`, `brk`, `sbrk`; and gives back without unmapping it: `madvise`.
//!
//! The C library's own calls do not come here, so that a large `malloc` is not counted twice. Each is a system call, so
//! that a lock and a sorted table cost nothing that shows.
use crate::agent::{self, Writer, enter};
use crate::event::{self, chosen};
use crate::hook_static;
use crate::real;
use crate::region;
use crate::stack::Kind;
use crate::thread::{IN_ALLOCATOR, IN_RECORDER, OUTSIDE, Thread};
use core::ffi::{c_int, c_void};
use memlens_format::Allocator;
use memlens_recorder::mappings::{Class, Mapping};

const PAGE: usize = 4096;

fn page_end(end: usize) -> usize {
    end.saturating_add(PAGE - 1) & !(PAGE - 1)
}

/// Takes `[start, end)` out of the mappings and counts what was there as released here.
fn remove(thread: &mut Thread, start: usize, end: usize) {
    thread.inside = IN_RECORDER;
    let mut release_sites: [Option<(&'static Writer, u32)>; 2] = [None; 2];
    while let Some(removed) = agent::with_cold(|cold| region::remove(cold, start, end)).flatten() {
        let is_heap = removed.class == Class::Heap;
        let kind = if is_heap { Kind::RELEASE } else { Kind::RELEASE_FILE };
        let place = &mut release_sites[usize::from(is_heap)];
        if place.is_none() {
            *place = (chosen().site)(thread, kind);
        }
        if let Some((writer, here)) = *place {
            event::unmapped(writer, removed.site, here, removed.bytes, removed.blocks, removed.class);
        }
    }
}

/// Enters a new mapping of a library's, unless its site says that it is none to count.
fn insert_unless(
    thread: &mut Thread,
    start: usize,
    length: usize,
    (allocator, library): (Allocator, u8),
    is_not_counted: impl FnOnce(u32) -> bool,
) {
    thread.inside = IN_RECORDER;
    let Some((writer, site)) = (chosen().site)(thread, Kind::allocation(allocator)) else { return };
    if is_not_counted(site) {
        return;
    }
    let class = match allocator {
        Allocator::MmapFile => Class::File,
        Allocator::MmapShared => Class::Shared,
        _ => Class::Heap,
    };
    let mapping = Mapping { start, end: start.saturating_add(length), site, class, library };
    if agent::with_cold(|cold| region::insert(cold, mapping)) == Some(true) {
        event::mapped(writer, site, length as u64, class);
    }
}

/// What a mapping is. A shared one of a file that lies in memory alone (tmpfs, huge pages) is what the kernel counts as shared memory too.
fn allocator_of(flags: c_int, descriptor: c_int) -> Allocator {
    if flags & libc::MAP_ANONYMOUS != 0 {
        return Allocator::Mmap;
    }
    let is_shared = matches!(flags & libc::MAP_TYPE, libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE);
    let mut system = core::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: room for what the call writes. Its failure is not shown to the program: errno is put back.
    let kind = unsafe {
        let errno = &mut *libc::__errno_location();
        let saved = *errno;
        let is_known = is_shared && libc::syscall(libc::SYS_fstatfs, descriptor, system.as_mut_ptr()) == 0;
        *errno = saved;
        if is_known { system.assume_init().f_type } else { 0 }
    };
    let is_memory = matches!(kind, libc::TMPFS_MAGIC | libc::HUGETLBFS_MAGIC);
    if is_memory { Allocator::MmapShared } else { Allocator::MmapFile }
}

/// `mmap(2)`. The seventh argument of what it calls is its own return address.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn mmap(
    start: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    core::arch::naked_asm!("push qword ptr [rsp]", "call {}", "add rsp, 8", "ret", sym mmap_called_from)
}

unsafe extern "C" fn mmap_called_from(
    start: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
    caller: usize,
) -> *mut c_void {
    let call = || {
        // SAFETY: the caller's promise is the real function's.
        unsafe { real::mmap(start, length, protection, flags, descriptor, offset) }
    };
    let Some(thread) = enter() else { return call() };
    thread.set_inside(IN_ALLOCATOR);
    let pointer = call();
    if pointer != libc::MAP_FAILED {
        if flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) != 0 {
            remove(thread.state(), pointer as usize, page_end((pointer as usize).saturating_add(length)));
        }
        let allocator = allocator_of(flags, descriptor);
        let inside = if allocator == Allocator::Mmap { hook_static::caller_of_mmap(caller) } else { None };
        let library = inside.map_or(region::NONE, |inside| inside.region());
        insert_unless(thread.state(), pointer as usize, length, (allocator, library), |site| {
            inside.is_some_and(|inside| inside.begins_at(site))
        });
    }
    thread.set_inside(OUTSIDE);
    pointer
}

/// `mmap64`, the same on 64-bit systems.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn mmap64(
    start: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    core::arch::naked_asm!("jmp {}", sym mmap)
}

/// `munmap(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(start: *mut c_void, length: usize) -> c_int {
    // SAFETY: the caller's promise is the real function's.
    let call = || unsafe { real::munmap(start, length) };
    // A call that the kernel refuses changes nothing.
    if !(start as usize).is_multiple_of(PAGE) || length == 0 {
        return call();
    }
    let Some(thread) = enter() else { return call() };
    remove(thread.state(), start as usize, page_end((start as usize).saturating_add(length)));
    thread.set_inside(IN_ALLOCATOR);
    let status = call();
    thread.set_inside(OUTSIDE);
    status
}

/// `madvise(2)`: an allocator gives pages back and keeps the addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int {
    // SAFETY: the caller's promise is the real function's.
    let call = || unsafe { real::madvise(start, length, advice) };
    if !matches!(advice, libc::MADV_DONTNEED | libc::MADV_FREE | libc::MADV_REMOVE) {
        return call();
    }
    let Some(thread) = enter() else { return call() };
    thread.set_inside(IN_RECORDER);
    agent::with_cold(|cold| region::look_before_purge(cold, start as usize));
    thread.set_inside(IN_ALLOCATOR);
    let status = call();
    thread.set_inside(OUTSIDE);
    status
}

/// `mremap(2)`. The fifth argument counts with `MREMAP_FIXED` and `MREMAP_DONTUNMAP` only; reading it is harmless, for it is a register.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mremap(
    start: *mut c_void,
    old_size: usize,
    new_size: usize,
    flags: c_int,
    new_start: *mut c_void,
) -> *mut c_void {
    // SAFETY: the caller's promise is the real function's.
    let call = || unsafe { real::mremap(start, old_size, new_size, flags, new_start) };
    let Some(thread) = enter() else { return call() };
    thread.set_inside(IN_ALLOCATOR);
    let pointer = call();
    if pointer != libc::MAP_FAILED {
        let old_end = page_end((start as usize).saturating_add(old_size));
        let old = agent::with_cold(|cold| cold.mappings.holding(start as usize)).flatten();
        let library = old.map_or(region::NONE, |old| old.library);
        if flags & libc::MREMAP_DONTUNMAP == 0 {
            remove(thread.state(), start as usize, old_end);
        }
        if flags & libc::MREMAP_FIXED != 0 {
            remove(thread.state(), pointer as usize, page_end((pointer as usize).saturating_add(new_size)));
        }
        let allocator = match old.map(|old| old.class) {
            Some(Class::File) => Allocator::MmapFile,
            Some(Class::Shared) => Allocator::MmapShared,
            _ => Allocator::Mremap,
        };
        insert_unless(thread.state(), pointer as usize, new_size, (allocator, library), |_| false);
    }
    thread.set_inside(OUTSIDE);
    pointer
}

/// The break moved from `old` to `new`.
fn break_moved(thread: &mut Thread, old: usize, new: usize) {
    if new > old {
        insert_unless(thread, old, new - old, (Allocator::Brk, region::NONE), |_| false);
    } else if new < old {
        remove(thread, new, old);
    }
}

fn current_break() -> usize {
    // SAFETY: a brk that the kernel cannot grant returns the present break and changes nothing.
    unsafe { libc::syscall(libc::SYS_brk, 0usize) as usize }
}

/// `brk(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn brk(end: *mut c_void) -> c_int {
    // SAFETY: the caller's promise is the real function's.
    let Some(thread) = enter() else { return unsafe { real::brk(end) } };
    thread.set_inside(IN_ALLOCATOR);
    let old = current_break();
    // SAFETY: as above.
    let status = unsafe { real::brk(end) };
    if status == 0 {
        break_moved(thread.state(), old, end as usize);
    }
    thread.set_inside(OUTSIDE);
    status
}

/// `sbrk(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sbrk(increment: isize) -> *mut c_void {
    // SAFETY: the caller's promise is the real function's.
    let Some(thread) = enter() else { return unsafe { real::sbrk(increment) } };
    thread.set_inside(IN_ALLOCATOR);
    // SAFETY: as above.
    let old = unsafe { real::sbrk(increment) };
    if old != libc::MAP_FAILED {
        break_moved(thread.state(), old as usize, (old as usize).wrapping_add_signed(increment));
    }
    thread.set_inside(OUTSIDE);
    old
}
