//! CPython's three memory domains, hooked with its own interface (`PyMem_SetAllocator`, PEP 445).
//!
//! The wrappers go in before the interpreter starts, so that every object is seen. An interpreter that is told to use
//! another allocator (`PYTHONMALLOC`, development mode) replaces them while it starts; then they are put in again, over
//! what is there, when a thread is first seen to hold the GIL. Each set of wrappers knows what it wraps by its context, and the outermost one
//! counts.
use crate::agent::{self, enter};
use crate::event::{self, address};
use crate::python::{self, PyMemAllocator};
use crate::thread::{IN_ALLOCATOR, OUTSIDE};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use memlens_cpython::layout::{Layout, V38, V39, V310, V311, V312, V313, V314, V314Early, V315};
use memlens_format::Allocator;

const RAW: i32 = 0;
const MEM: i32 = 1;
const OBJECT: i32 = 2;
/// How often the wrappers may be put in.
const MAX_SETS: usize = 4;

/// What a set of wrappers wraps, by domain. Written before the wrappers that read it are installed.
struct Wrapped(UnsafeCell<[[PyMemAllocator; 3]; MAX_SETS]>);

// SAFETY: see above.
unsafe impl Sync for Wrapped {}

static WRAPPED: Wrapped = Wrapped(UnsafeCell::new([[PyMemAllocator::NONE; 3]; MAX_SETS]));
static SETS: AtomicUsize = AtomicUsize::new(0);

trait Domain {
    const NUMBER: i32;
    const ALLOCATOR: Allocator;
}

macro_rules! domain {
    ($name:ident, $number:expr, $allocator:expr) => {
        enum $name {}
        impl Domain for $name {
            const NUMBER: i32 = $number;
            const ALLOCATOR: Allocator = $allocator;
        }
    };
}

domain!(Raw, RAW, Allocator::PymemRaw);
domain!(Mem, MEM, Allocator::Pymem);
domain!(Object, OBJECT, Allocator::Pyobject);

/// The wrapped allocator.
///
/// # Safety
/// `context` must be what [`wrap`] installed.
#[inline(always)]
unsafe fn wrapped(context: *mut c_void) -> &'static PyMemAllocator {
    // SAFETY: the caller's promise.
    unsafe { &*context.cast::<PyMemAllocator>() }
}

extern "C" fn malloc<V: Layout, D: Domain>(context: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: CPython hands back the context that it was given.
    let real = unsafe { wrapped(context) };
    let Some(thread) = enter() else { return real.malloc(size) };
    thread.inside = IN_ALLOCATOR;
    let pointer = real.malloc(size);
    if !pointer.is_null() {
        event::allocated::<V>(thread, address(pointer), size, D::ALLOCATOR);
    }
    thread.inside = OUTSIDE;
    pointer
}

extern "C" fn calloc<V: Layout, D: Domain>(context: *mut c_void, count: usize, size: usize) -> *mut c_void {
    // SAFETY: as in `malloc`.
    let real = unsafe { wrapped(context) };
    let Some(thread) = enter() else { return real.calloc(count, size) };
    thread.inside = IN_ALLOCATOR;
    let pointer = real.calloc(count, size);
    if !pointer.is_null() {
        event::allocated::<V>(thread, address(pointer), count * size, D::ALLOCATOR);
    }
    thread.inside = OUTSIDE;
    pointer
}

extern "C" fn realloc<V: Layout, D: Domain>(context: *mut c_void, pointer: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: as in `malloc`.
    let real = unsafe { wrapped(context) };
    let Some(thread) = enter() else { return real.realloc(pointer, size) };
    let old = event::take(thread, address(pointer));
    thread.inside = IN_ALLOCATOR;
    let new = real.realloc(pointer, size);
    if new.is_null() {
        event::put_back(thread, address(pointer), old);
    } else {
        event::reallocated::<V>(thread, address(pointer), old, address(new), size, D::ALLOCATOR);
    }
    thread.inside = OUTSIDE;
    new
}

extern "C" fn free<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    // SAFETY: as in `malloc`.
    let real = unsafe { wrapped(context) };
    if pointer.is_null() {
        return real.free(pointer);
    }
    let Some(thread) = enter() else { return real.free(pointer) };
    event::released::<V>(thread, address(pointer));
    thread.inside = IN_ALLOCATOR;
    real.free(pointer);
    thread.inside = OUTSIDE;
}

/// Wraps whatever serves the domain now.
fn wrap<V: Layout, D: Domain>(set: usize) {
    let Some(functions) = python::found().allocators() else { return };
    // SAFETY: `set` is new, so that nobody reads its slots yet; the two functions are CPython's own.
    unsafe {
        let slot = WRAPPED.0.get().cast::<PyMemAllocator>().add(set * 3 + D::NUMBER as usize);
        (functions.get)(D::NUMBER, slot);
        let wrapper = PyMemAllocator::new(slot.cast(), malloc::<V, D>, calloc::<V, D>, realloc::<V, D>, free::<V>);
        (functions.set)(D::NUMBER, &raw const wrapper);
    }
}

fn wrap_all<V: Layout>(set: usize) {
    wrap::<V, Raw>(set);
    wrap::<V, Mem>(set);
    wrap::<V, Object>(set);
}

/// Puts the wrappers in, if there is an interpreter that is known.
pub fn install() {
    let python = python::found();
    if python.kind != memlens_format::shared::PYTHON_SUPPORTED {
        return;
    }
    let set = SETS.load(Relaxed);
    if set == MAX_SETS {
        return;
    }
    SETS.store(set + 1, Relaxed);
    match python.minor() {
        8 => wrap_all::<V38>(set),
        9 => wrap_all::<V39>(set),
        10 => wrap_all::<V310>(set),
        11 => wrap_all::<V311>(set),
        12 => wrap_all::<V312>(set),
        13 => wrap_all::<V313>(set),
        14 if python.micro() < 5 => wrap_all::<V314Early>(set),
        14 => wrap_all::<V314>(set),
        15 => wrap_all::<V315>(set),
        _ => return,
    }
    agent::header().python_hooked.store(1, Relaxed);
}

/// Puts them in again if the interpreter has replaced them while it started. Called by a thread that holds the GIL.
#[cold]
pub fn check() {
    let (Some(functions), sets) = (python::found().allocators(), SETS.load(Relaxed)) else { return };
    if sets == 0 {
        return;
    }
    let mut now = PyMemAllocator::NONE;
    // SAFETY: CPython's own function, which writes one PyMemAllocator.
    unsafe { (functions.get)(OBJECT, &raw mut now) };
    let ours = WRAPPED.0.get() as usize..WRAPPED.0.get() as usize + size_of_val(&WRAPPED);
    if !ours.contains(&now.context_address()) {
        install();
    }
}
