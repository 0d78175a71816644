//! The C library's allocator.
//!
//! Each hook: find out whether to record; call the real function with the thread marked, so that what it calls in turn (a
//! preloaded jemalloc's `mmap`, say) is not counted twice; record; unmark. A release is recorded before the real free,
//! an allocation after the real malloc.
use crate::agent::enter;
use crate::event::{self, address, chosen};
use crate::real;
use crate::thread::{IN_ALLOCATOR, OUTSIDE};
use core::ffi::{c_int, c_void};
use memlens_format::Allocator;

/// Calls the real function and records its block.
macro_rules! allocate {
    ($allocator:expr, $size:expr, $real:expr) => {{
        // SAFETY: the hook has the signature and the preconditions of the real function.
        let Some(thread) = enter() else { return unsafe { $real } };
        thread.set_inside(IN_ALLOCATOR);
        // SAFETY: as above.
        let pointer = unsafe { $real };
        (chosen().allocated)(thread.state(), pointer, $size, $allocator)
    }};
}

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    if real::is_resolving() {
        return real::arena_allocate(size);
    }
    allocate!(Allocator::Malloc, size, real::malloc(size))
}

/// `calloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    if real::is_resolving() {
        return count.checked_mul(size).map_or(core::ptr::null_mut(), real::arena_allocate);
    }
    allocate!(Allocator::Calloc, count.wrapping_mul(size), real::calloc(count, size))
}

/// `free(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(pointer: *mut c_void) {
    if pointer.is_null() || real::is_from_arena(pointer) {
        return;
    }
    // SAFETY: the caller's promise is the real function's.
    release(pointer, || unsafe { real::free(pointer) });
}

/// `free_sized(3)` of C23, in glibc since 2.43. It says nothing that `free` does not know, so that an older C library needs none of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(pointer: *mut c_void, _size: usize) {
    // SAFETY: the caller's promise holds that of `free`.
    unsafe { free(pointer) };
}

/// `free_aligned_sized(3)`, likewise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(pointer: *mut c_void, _alignment: usize, _size: usize) {
    // SAFETY: the caller's promise holds that of `free`.
    unsafe { free(pointer) };
}

/// Releases a block by `call`, with its release recorded first.
#[inline(always)]
pub fn release<R>(pointer: *mut c_void, call: impl FnOnce() -> R) -> R {
    let Some(thread) = enter() else {
        event::released_inside(address(pointer));
        return call();
    };
    (chosen().released)(thread.state(), address(pointer));
    thread.set_inside(IN_ALLOCATOR);
    let result = call();
    thread.set_inside(OUTSIDE);
    result
}

/// Resizes by `call`, with the old block taken out of the table first. `size` is what was asked for.
///
/// # Safety
/// `pointer` must be null or a live block, and `call` the real function on it.
#[inline(always)]
pub unsafe fn resize(
    pointer: *mut c_void,
    size: usize,
    allocator: Allocator,
    call: impl FnOnce(*mut c_void) -> *mut c_void,
) -> *mut c_void {
    if real::is_resolving() && pointer.is_null() {
        return real::arena_allocate(size);
    }
    if real::is_from_arena(pointer) {
        return leave_arena(pointer, size);
    }
    let Some(thread) = enter() else {
        return event::resized_inside(address(pointer), size, allocator, || call(pointer));
    };
    let old = event::take(thread.state(), address(pointer));
    thread.set_inside(IN_ALLOCATOR);
    let new = call(pointer);
    if !new.is_null() || size == 0 && !pointer.is_null() {
        // glibc releases the block and returns null when asked for 0 bytes.
        return (chosen().reallocated)(thread.state(), address(pointer), old, new, size, allocator);
    }
    event::put_back(thread.state(), address(pointer), old);
    (chosen().allocated)(thread.state(), new, size, allocator)
}

/// A block of the start-up arena grows: it moves to the real allocator.
#[cold]
fn leave_arena(pointer: *mut c_void, size: usize) -> *mut c_void {
    let new = malloc(size);
    if !new.is_null() {
        // SAFETY: both blocks have at least the smaller size.
        unsafe { new.copy_from_nonoverlapping(pointer, size.min(real::arena_size(pointer))) };
    }
    new
}

/// `realloc(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is the real function's.
    unsafe { resize(pointer, size, Allocator::Realloc, |pointer| real::realloc(pointer, size)) }
}

/// `reallocarray(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(pointer: *mut c_void, count: usize, size: usize) -> *mut c_void {
    // A product that overflows makes the call fail, so that the size does not matter, but for being not 0.
    let bytes = count.saturating_mul(size);
    // SAFETY: the caller's promise is the real function's.
    unsafe { resize(pointer, bytes, Allocator::Reallocarray, |pointer| real::reallocarray(pointer, count, size)) }
}

/// `posix_memalign(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(result: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    // SAFETY: the caller's promise is the real function's.
    let Some(thread) = enter() else { return unsafe { real::posix_memalign(result, alignment, size) } };
    thread.set_inside(IN_ALLOCATOR);
    // SAFETY: as above.
    let status = unsafe { real::posix_memalign(result, alignment, size) };
    if status == 0 || status == libc::ENOMEM {
        // SAFETY: a call that succeeded has written the pointer.
        let pointer = if status == 0 { unsafe { *result } } else { core::ptr::null_mut() };
        (chosen().allocated)(thread.state(), pointer, size, Allocator::PosixMemalign);
    }
    thread.set_inside(OUTSIDE);
    status
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    allocate!(Allocator::AlignedAlloc, size, real::aligned_alloc(alignment, size))
}

/// `memalign(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    allocate!(Allocator::Memalign, size, real::memalign(alignment, size))
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    allocate!(Allocator::Valloc, size, real::valloc(size))
}

/// `pvalloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    allocate!(Allocator::Pvalloc, size, real::pvalloc(size))
}
