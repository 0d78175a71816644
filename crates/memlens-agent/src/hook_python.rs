//! CPython's three memory domains, hooked with its own interface (`PyMem_SetAllocator`, PEP 445).
//!
//! The wrappers go in before the interpreter starts, so that every object is seen. An interpreter that is told to use
//! another allocator (`PYTHONMALLOC`, development mode) replaces them while it starts; then they are put in again, over
//! what is there, when a thread is first seen to hold the GIL. Each set of wrappers knows what it wraps by its context, and the outermost one
//! counts.
use crate::agent;
use crate::event::{self, address};
use crate::python::{self, PyMemAllocator, WholeAllocator};
use crate::switch;
use crate::thread::{self, Handle, IN_ALLOCATOR, OUTSIDE};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use memlens_cpython::layout::{
    Layout, V38, V39, V310, V311, V312, V313, V313FreeThreaded, V314, V314Early, V314EarlyFreeThreaded,
    V314FreeThreaded, V315, V315FreeThreaded,
};
use memlens_format::Allocator;

const RAW: i32 = 0;
const MEM: i32 = 1;
const OBJECT: i32 = 2;
/// How often the wrappers may be put in.
const MAX_SETS: usize = 4;

/// What a set of wrappers wraps, by domain. Written before the wrappers that read it are installed.
struct Wrapped(UnsafeCell<[[MaybeUninit<WholeAllocator>; 3]; MAX_SETS]>);

// SAFETY: see above.
unsafe impl Sync for Wrapped {}

static WRAPPED: Wrapped = Wrapped(UnsafeCell::new([[const { MaybeUninit::uninit() }; 3]; MAX_SETS]));
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
unsafe fn wrapped(context: *mut c_void) -> &'static WholeAllocator {
    // SAFETY: the caller's promise.
    unsafe { &*context.cast::<WholeAllocator>() }
}

/// A hook: what to do for a thread that is open, in the usual case in line, else out of it; and the real call for one that is not.
///
/// Nothing is kept across a call that the usual case does not need, so that it saves few registers.
macro_rules! hook {
    ($name:ident, $slow:ident, <$($parameter:ident: $bound:ident),+>, ($($argument:ident: $type:ty),+) -> $result:ty, $recorded:expr, $unrecorded:expr) => {
        extern "C" fn $name<$($parameter: $bound),+>(context: *mut c_void, $($argument: $type),+) -> $result {
            let Some(thread) = agent::open_thread() else {
                return $slow::<$($parameter),+>(context, $($argument),+);
            };
            // SAFETY: CPython hands back the context that it was given.
            let real = unsafe { wrapped(context) };
            $recorded(thread, real, $($argument),+)
        }

        #[cold]
        #[inline(never)]
        extern "C" fn $slow<$($parameter: $bound),+>(context: *mut c_void, $($argument: $type),+) -> $result {
            // SAFETY: CPython hands back the context that it was given.
            let real = unsafe { wrapped(context) };
            match agent::enter_slow() {
                Some(thread) => $recorded(thread, real, $($argument),+),
                None => $unrecorded(real, $($argument),+),
            }
        }
    };
}

hook!(malloc, malloc_slow, <V: Layout, D: Domain>, (size: usize) -> *mut c_void, record_malloc::<V, D>, WholeAllocator::malloc);
hook!(calloc, calloc_slow, <V: Layout, D: Domain>, (count: usize, size: usize) -> *mut c_void, record_calloc::<V, D>, WholeAllocator::calloc);
hook!(realloc, realloc_slow, <V: Layout, D: Domain>, (pointer: *mut c_void, size: usize) -> *mut c_void, record_realloc::<V, D>, realloc_inside::<D>);

/// The same for `free`, whose usual case calls nothing but the real one, and so keeps nothing.
extern "C" fn free<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    let Some(thread) = agent::open_thread() else { return free_slow::<V>(context, pointer) };
    // The null pointer is in no table, and so not usual.
    if !event::released_usual::<V>(thread.state(), address(pointer)) {
        return free_moved::<V>(context, pointer);
    }
    thread.set_inside(IN_ALLOCATOR);
    // SAFETY: CPython hands back the context that it was given.
    unsafe { wrapped(context) }.free(pointer);
    thread::close();
}

#[inline(never)]
extern "C" fn free_moved<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    // SAFETY: as in `free`.
    record_free::<V>(Handle::current(), unsafe { wrapped(context) }, pointer);
}

#[cold]
#[inline(never)]
extern "C" fn free_slow<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    // SAFETY: as in `free`.
    let real = unsafe { wrapped(context) };
    match agent::enter_slow() {
        Some(thread) => record_free::<V>(thread, real, pointer),
        None => free_inside(real, pointer),
    }
}

fn realloc_inside<D: Domain>(real: &WholeAllocator, pointer: *mut c_void, size: usize) -> *mut c_void {
    event::resized_inside(address(pointer), size, D::ALLOCATOR, || real.realloc(pointer, size))
}

fn free_inside(real: &WholeAllocator, pointer: *mut c_void) {
    event::released_inside(address(pointer));
    real.free(pointer);
}

/// [`free`] of the mem domain, for versions that have frames on the C stack: greenlet calls it between two stacks.
#[unsafe(naked)]
extern "C" fn free_mem<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    core::arch::naked_asm!("mov rdx, qword ptr [rsp]", "jmp {}", sym free_mem_called_from::<V>)
}

extern "C" fn free_mem_called_from<V: Layout>(context: *mut c_void, pointer: *mut c_void, caller: usize) {
    if switch::is_greenlet(caller) { free_between_stacks::<V>(context, pointer) } else { free::<V>(context, pointer) }
}

#[cold]
#[inline(never)]
fn free_between_stacks<V: Layout>(context: *mut c_void, pointer: *mut c_void) {
    // SAFETY: CPython hands back the context that it was given.
    let real = unsafe { wrapped(context) };
    let thread = agent::open_thread().or_else(agent::enter_slow).filter(|_| !pointer.is_null());
    let Some(thread) = thread else { return real.free(pointer) };
    event::released_between_stacks::<V>(thread.state(), address(pointer));
    thread.set_inside(IN_ALLOCATOR);
    real.free(pointer);
    thread.set_inside(OUTSIDE);
}

#[inline(always)]
fn record_malloc<V: Layout, D: Domain>(thread: Handle, real: &WholeAllocator, size: usize) -> *mut c_void {
    thread.set_inside(IN_ALLOCATOR);
    let pointer = real.malloc(size);
    event::allocated::<V>(Handle::current().state(), pointer, size, D::ALLOCATOR)
}

#[inline(always)]
fn record_calloc<V: Layout, D: Domain>(
    thread: Handle,
    real: &WholeAllocator,
    count: usize,
    size: usize,
) -> *mut c_void {
    thread.set_inside(IN_ALLOCATOR);
    let pointer = real.calloc(count, size);
    event::allocated::<V>(thread.state(), pointer, count.wrapping_mul(size), D::ALLOCATOR)
}

#[inline(always)]
fn record_realloc<V: Layout, D: Domain>(
    thread: Handle,
    real: &WholeAllocator,
    pointer: *mut c_void,
    size: usize,
) -> *mut c_void {
    let old = event::take(thread.state(), address(pointer));
    thread.set_inside(IN_ALLOCATOR);
    let new = real.realloc(pointer, size);
    if !new.is_null() {
        return event::reallocated::<V>(thread.state(), address(pointer), old, new, size, D::ALLOCATOR);
    }
    event::put_back(thread.state(), address(pointer), old);
    event::allocated::<V>(thread.state(), new, size, D::ALLOCATOR)
}

#[inline(always)]
fn record_free<V: Layout>(thread: Handle, real: &WholeAllocator, pointer: *mut c_void) {
    if !pointer.is_null() {
        event::released::<V>(thread.state(), address(pointer));
    }
    thread.set_inside(IN_ALLOCATOR);
    real.free(pointer);
    thread.set_inside(OUTSIDE);
}

/// Wraps whatever serves the domain now.
fn wrap<V: Layout, D: Domain>(set: usize) {
    let Some(functions) = python::found().allocators() else { return };
    let mut now = PyMemAllocator::NONE;
    // SAFETY: CPython's own function, which writes one PyMemAllocator.
    unsafe { (functions.get)(D::NUMBER, &raw mut now) };
    let Some(whole) = now.whole() else { return };
    // SAFETY: `set` is new, so that nobody reads its slots yet; the function is CPython's own.
    unsafe {
        let slot = WRAPPED.0.get().cast::<WholeAllocator>().add(set * 3 + D::NUMBER as usize);
        slot.write(whole);
        let free = if D::NUMBER == MEM && V::MINOR >= 11 { free_mem::<V> } else { free::<V> };
        let wrapper = PyMemAllocator::new(slot.cast(), malloc::<V, D>, calloc::<V, D>, realloc::<V, D>, free);
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
    // Without a GIL two threads may come here at once.
    let Ok(set) = SETS.fetch_update(Relaxed, Relaxed, |sets| (sets < MAX_SETS).then_some(sets + 1)) else { return };
    match python.minor() {
        8 => wrap_all::<V38>(set),
        9 => wrap_all::<V39>(set),
        10 => wrap_all::<V310>(set),
        11 => wrap_all::<V311>(set),
        12 => wrap_all::<V312>(set),
        13 if python.is_free_threaded => wrap_all::<V313FreeThreaded>(set),
        13 => wrap_all::<V313>(set),
        14 if python.is_free_threaded && python.micro() < 5 => wrap_all::<V314EarlyFreeThreaded>(set),
        14 if python.is_free_threaded => wrap_all::<V314FreeThreaded>(set),
        14 if python.micro() < 5 => wrap_all::<V314Early>(set),
        14 => wrap_all::<V314>(set),
        15 if python.is_free_threaded => wrap_all::<V315FreeThreaded>(set),
        15 => wrap_all::<V315>(set),
        _ => return,
    }
    agent::header().python_hooked.store(1, Relaxed);
}

/// Puts them in again if the interpreter has replaced them while it started. Called by a thread that holds the GIL, or is attached where there
/// is none.
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
