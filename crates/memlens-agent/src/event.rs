//! An allocation or a release, from the moment that its block is known to the last counter.
//!
//! The functions here are compiled once for each version of the interpreter, with its offsets in the instructions. The
//! C hooks, which exist before any interpreter is known, reach them through [`chosen`].
use crate::agent::{self, LIVE, Writer};
use crate::python;
use crate::stack::{self, Kind};
use crate::task;
use crate::thread::{self, IN_ALLOCATOR, IN_RECORDER, OUTSIDE, Thread};
use core::ffi::c_void;
use core::ptr::{NonNull, null};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use memlens_cpython::layout::{
    Layout, V38, V39, V310, V311, V312, V313, V313FreeThreaded, V314, V314Early, V314EarlyFreeThreaded,
    V314FreeThreaded, V315, V315FreeThreaded,
};
use memlens_format::Allocator;
use memlens_recorder::lane::Lane;
use memlens_recorder::live_table::Taken;
use memlens_recorder::mappings::Class;
use memlens_recorder::recent::CountedSite;

/// The events of one version.
pub struct Events {
    /// A block was allocated; closes the hook and hands the block back.
    pub allocated: fn(&mut Thread, *mut c_void, usize, Allocator) -> *mut c_void,
    /// A block is about to be released.
    pub released: fn(&mut Thread, usize),
    /// A block that was taken out of the table is about to be released.
    pub released_taken: fn(&mut Thread, usize, Taken),
    /// A block was moved or resized; the old one was taken out of the table before.
    pub reallocated: fn(&mut Thread, usize, Taken, *mut c_void, usize, Allocator) -> *mut c_void,
    /// Part of a mapping is gone, or a mapping is new: the site is wanted, for the mappings' own table.
    pub site: fn(&mut Thread, Kind) -> Option<(&'static Writer, u32)>,
    /// Looks which task runs in the thread.
    pub follow_task: fn(&mut Thread),
}

macro_rules! events_of {
    ($version:ty) => {
        &Events {
            allocated: |thread, block, size, allocator| allocated::<$version>(thread, block, size, allocator),
            released: |thread, address| {
                if !released_usual::<$version>(thread, address) {
                    released::<$version>(thread, address);
                }
            },
            released_taken: |thread, address, taken| released_block::<$version>(thread, address, taken),
            reallocated: |thread, old, block, new, size, allocator| {
                reallocated::<$version>(thread, old, block, new, size, allocator)
            },
            site: |thread, kind| here::<$version>(thread, kind),
            follow_task: |thread| task::follow::<$version>(thread),
        }
    };
}

static CHOSEN: AtomicPtr<Events> = AtomicPtr::new((events_of!(V312) as *const Events).cast_mut());

/// The events of the interpreter that is in this process. Without one no stack is ever walked, and any will do.
#[inline(always)]
pub fn chosen() -> &'static Events {
    // SAFETY: it always points to a promoted constant.
    unsafe { &*CHOSEN.load(Relaxed) }
}

/// Chooses them.
pub fn choose(python: &python::Found) {
    let events: &'static Events = match python.minor() {
        8 => events_of!(V38),
        9 => events_of!(V39),
        10 => events_of!(V310),
        11 => events_of!(V311),
        13 if python.is_free_threaded => events_of!(V313FreeThreaded),
        13 => events_of!(V313),
        14 if python.is_free_threaded && python.micro() < 5 => events_of!(V314EarlyFreeThreaded),
        14 if python.is_free_threaded => events_of!(V314FreeThreaded),
        14 if python.micro() < 5 => events_of!(V314Early),
        14 => events_of!(V314),
        15 if python.is_free_threaded => events_of!(V315FreeThreaded),
        15 => events_of!(V315),
        _ => events_of!(V312),
    };
    CHOSEN.store((&raw const *events).cast_mut(), Relaxed);
}

/// Who writes when everything was found as at the last event: lane 0's writer; where there is no GIL the thread's own.
#[inline(always)]
fn writer_of<V: Layout>(thread: &Thread) -> *mut Writer {
    if V::HAS_GIL { agent::main_writer() } else { thread.writer }
}

/// Whether the writer has the site's counters where [`count_released`] looks for them.
#[inline(always)]
fn is_at_hand<V: Layout>(writer: &Writer, site: u32) -> bool {
    if V::HAS_GIL { Lane::is_near(site) } else { writer.lane.has(site) }
}

#[inline(always)]
fn count_allocated<V: Layout>(writer: &Writer, here: CountedSite, size: u64) {
    if V::HAS_GIL {
        writer.lane.allocated_near(here.counters, size);
    } else {
        writer.lane.allocated(here.site, size, true);
    }
}

/// Where there is a GIL: leaves the peak, if the heap was never larger than now, and returns what [`count_released`] asks for; `None` if that
/// takes longer.
#[inline(always)]
fn leave_peak<V: Layout>(writer: &Writer) -> Option<i64> {
    if V::HAS_GIL { writer.lane.leave_peak_alone() } else { Some(0) }
}

/// Counts a release. Where there is a GIL the peak must have been left.
#[inline(always)]
fn count_released<V: Layout>(writer: &Writer, live: i64, owner: u32, here: CountedSite, size: u64, temporary: bool) {
    if V::HAS_GIL {
        writer.lane.released_near(live, owner, here.counters, size, temporary);
    } else {
        writer.lane.released(owner, here.site, size, 1, temporary, true);
    }
}

/// The writer and the place of `kind` at the running line, if the calling thread holds the GIL (or is attached, where there is none),
/// nothing has changed since its last event but the instruction, and the place is one that was used lately.
///
/// Budget: two loads and a branch before the stack. What is needed is then read through the *known* thread state, which was
/// just seen to be the running one: so the processor goes on without waiting for the interpreter's own pointer.
#[inline(always)]
fn usual<V: Layout>(thread: &Thread, kind: Kind) -> Option<(&'static Writer, CountedSite)> {
    let tstate = known_running::<V>(thread)?;
    // SAFETY: this thread holds the main interpreter's GIL, and so is the one that writes lane 0, and its frames are at rest; the hook
    // that called has found it open.
    unsafe {
        let writer = &*writer_of::<V>(thread);
        let place = stack::usual_place::<V>(&thread.stack, tstate, kind)?;
        #[cfg(feature = "check-stacks")]
        stack::check::usual_holds::<V>(&thread.stack, &mut *writer_of::<V>(thread));
        Some((writer, place))
    }
}

/// The same after a call or a return.
#[inline(always)]
fn with_gil<V: Layout>(thread: &mut Thread, kind: Kind) -> Option<(&'static Writer, u32)> {
    let tstate = known_running::<V>(thread)?;
    // SAFETY: as in `usual`.
    unsafe {
        let writer = &mut *writer_of::<V>(thread);
        if !V::HAS_GIL {
            stack::refresh_keys(writer);
        }
        let site = stack::site::<V>(&mut thread.stack, writer, tstate, kind)?;
        Some((writer, site))
    }
}

/// The thread state that is known for this thread, if it is the one that holds the GIL.
#[inline(always)]
fn known_running<V: Layout>(thread: &Thread) -> Option<*const c_void> {
    let known = thread.known_tstate;
    // SAFETY: set by set_up_thread; the slot is the interpreter's, which stays loaded.
    let running = unsafe { *thread.tstate_slot };
    (running == known && is_own::<V>(known)).then(|| thread::as_if_loaded(known))
}

/// The main interpreter's thread state with which the calling thread holds the GIL, if it holds it.
pub fn running_tstate<V: Layout>(thread: &Thread) -> Option<*const c_void> {
    let functions = python::found();
    if !functions.slot_by_call {
        return known_running::<V>(thread);
    }
    let tstate = python::running_tstate();
    let is_ours = !tstate.is_null() && is_own::<V>(tstate) && functions.is_main_interpreter(tstate, V::TSTATE_INTERP);
    is_ours.then_some(tstate)
}

/// Who writes, and the site of `kind` at the running line.
#[inline(never)]
fn here<V: Layout>(thread: &mut Thread, kind: Kind) -> Option<(&'static Writer, u32)> {
    if let Some((writer, site)) = with_gil::<V>(thread, kind) {
        return Some((writer, site));
    }
    // SAFETY: as in `with_gil`.
    let tstate = unsafe { *thread.tstate_slot };
    elsewhere::<V>(thread, tstate, kind)
}

/// Before 3.12 the slot is the whole process': another thread may have got this thread's old thread state.
#[inline(always)]
fn is_own<V: Layout>(tstate: *const c_void) -> bool {
    // SAFETY: the running thread state is alive.
    V::TSTATE_IS_THREAD_LOCAL
        || unsafe { tstate.byte_add(V::TSTATE_THREAD_ID).cast::<usize>().read() } == thread::pthread_self()
}

/// The GIL is not held, or there is none, or a thread state that was not met before.
#[inline(never)]
fn elsewhere<V: Layout>(thread: &mut Thread, tstate: *const c_void, kind: Kind) -> Option<(&'static Writer, u32)> {
    if !V::HAS_GIL {
        return free_threaded::<V>(thread, tstate, kind);
    }
    let functions = python::found();
    if functions.slot_by_call {
        // The slot is a copy that nobody keeps up to date.
        let tstate = python::running_tstate();
        if !tstate.is_null() && is_own::<V>(tstate) && functions.is_main_interpreter(tstate, V::TSTATE_INTERP) {
            agent::set_python_seen();
            // SAFETY: as in `with_gil`.
            return unsafe {
                let writer = &mut *agent::main_writer();
                stack::site::<V>(&mut thread.stack, writer, tstate, kind).map(|site| (&*writer, site))
            };
        }
    } else if !tstate.is_null() && holds_gil::<V>(tstate) && functions.is_main_interpreter(tstate, V::TSTATE_INTERP) {
        thread.known_tstate = tstate;
        agent::set_python_seen();
        crate::hook_python::check();
        // Not `here`: where the tables are full there is no site at the second try either, nor at any other.
        return with_gil::<V>(thread, kind);
    }
    if !agent::python_seen() && agent::is_main_thread() {
        // SAFETY: no interpreter is up, so that lane 0 is the main thread's.
        return unsafe {
            let writer = &mut *agent::main_writer();
            stack::site::<V>(&mut thread.stack, writer, null(), kind).map(|site| (&*writer, site))
        };
    }
    without_gil::<V>(thread, kind)
}

/// Whether the calling thread holds the GIL with this thread state.
fn holds_gil<V: Layout>(tstate: *const c_void) -> bool {
    V::TSTATE_IS_THREAD_LOCAL || python::own_tstate() == tstate && is_own::<V>(tstate)
}

/// An event of a thread that does not hold the GIL: its own lane, and its own frames if it has any.
fn without_gil<V: Layout>(thread: &mut Thread, kind: Kind) -> Option<(&'static Writer, u32)> {
    if thread.writer.is_null() {
        thread.writer = agent::take_writer(thread.is_ending)?.as_ptr();
    }
    let tstate = if agent::python_seen() { python::own_tstate() } else { null() };
    // SAFETY: the writer is this thread's; the frames of its own thread state do not change while it is here.
    unsafe {
        let writer = &mut *thread.writer;
        stack::refresh_keys(writer);
        stack::site::<V>(&mut thread.stack, writer, tstate, kind).map(|site| (&*writer, site))
    }
}

/// An event of a thread of an interpreter without a GIL that is not attached (it waits, or runs code that is not Python's), or whose thread state was
/// not met before.
#[inline(never)]
fn free_threaded<V: Layout>(thread: &mut Thread, slot: *const c_void, kind: Kind) -> Option<(&'static Writer, u32)> {
    let writer = own_writer(thread)?;
    let slot_by_call = python::found().slot_by_call;
    let attached = if slot_by_call { python::running_tstate() } else { slot };
    let tstate = match () {
        () if attached.is_null() && agent::python_seen() => python::own_tstate(),
        () => attached,
    };
    if !attached.is_null() {
        agent::set_python_seen();
        if !slot_by_call {
            thread.known_tstate = attached;
            // While it starts, and so alone: to look takes a lock of the interpreter's, and who waits for that in the middle of an allocation
            // would be detached.
            if agent::is_main_thread() {
                crate::hook_python::check();
            }
        }
    }
    // SAFETY: the writer is this thread's; the frames of its own thread state do not change while it is here.
    unsafe {
        let writer = &mut *writer;
        stack::refresh_keys(writer);
        stack::site::<V>(&mut thread.stack, writer, tstate, kind).map(|site| (&*writer, site))
    }
}

/// The writer of a thread where there is no GIL.
fn own_writer(thread: &mut Thread) -> Option<*mut Writer> {
    if thread.writer.is_null() {
        thread.writer = agent::take_own_writer(thread.is_ending)?.as_ptr();
    }
    Some(thread.writer)
}

/// A block was allocated, or not if it is null. Closes the hook and hands the block back.
#[inline(always)]
pub fn allocated<V: Layout>(thread: &mut Thread, block: *mut c_void, size: usize, allocator: Allocator) -> *mut c_void {
    thread.inside = IN_RECORDER;
    thread.last_allocation = address(block);
    // The table has no place for the null pointer.
    if let Some((writer, here)) = usual::<V>(thread, Kind::allocation(allocator))
        && LIVE.insert(address(block), here.site, size as u64)
    {
        count_allocated::<V>(writer, here, size as u64);
        thread.inside = OUTSIDE;
        return block;
    }
    // The last thing that a hook does, so that it need not keep anything for afterwards.
    allocated_moved::<V>(thread, block, size, allocator)
}

/// After a call or a return, and for all that is less usual.
#[inline(never)]
fn allocated_moved<V: Layout>(
    thread: &mut Thread,
    block: *mut c_void,
    size: usize,
    allocator: Allocator,
) -> *mut c_void {
    if !block.is_null() {
        if let Some((writer, site)) = with_gil::<V>(thread, Kind::allocation(allocator))
            && let Some(here) = writer.lane.counted(site)
            && LIVE.insert(address(block), site, size as u64)
        {
            count_allocated::<V>(writer, here, size as u64);
        } else {
            allocated_rare::<V>(thread, address(block), size, allocator);
        }
    } else {
        refused::<V>(thread, size, allocator);
    }
    thread.inside = OUTSIDE;
    // Who calls does not know that it gets back what it gave, and so need not keep it.
    thread::as_if_loaded(block).cast_mut()
}

/// Refusals that follow each other sooner than this have one cause: the first is kept, for the others are the program's failing to say so.
const ONE_BURST_NS: u64 = 1_000_000_000;

/// There was no memory: most programs end soon after.
#[cold]
#[inline(never)]
fn refused<V: Layout>(thread: &mut Thread, size: usize, allocator: Allocator) {
    let site = here::<V>(thread, Kind::allocation(allocator)).map_or(0, |(_, site)| site);
    let header = agent::header();
    let (now, last) = (header.clock_ns.load(Relaxed), header.refused_time_ns.load(Relaxed));
    if header.refused_count.fetch_add(1, Relaxed) == 0 || now.saturating_sub(last) > ONE_BURST_NS {
        header.refused_bytes.store(size as u64, Relaxed);
        header.refused_site.store(site, Relaxed);
    }
    header.refused_time_ns.store(now, Relaxed);
}

/// A thread without the GIL, a new leaf of the table, a rare kind of block, or one of a site beyond the first thousands.
#[inline(never)]
fn allocated_rare<V: Layout>(thread: &mut Thread, address: usize, size: usize, allocator: Allocator) {
    let Some((writer, site)) = here::<V>(thread, Kind::allocation(allocator)) else { return lost(size) };
    let is_entered = LIVE.insert(address, site, size as u64) || insert_rare(writer, site, address, size);
    if !is_entered || !make_room(writer, site) || !writer.lane.allocated(site, size as u64, true) {
        lost(size);
    }
}

#[cold]
#[inline(never)]
fn insert_rare(writer: &Writer, site: u32, address: usize, size: usize) -> bool {
    let mut displaced = None;
    let is_entered =
        agent::with_cold(|cold| LIVE.insert_slow(&mut cold.memory, address, site, size as u64, &mut displaced));
    if let Some(block) = displaced {
        if block.is_code {
            stack::forget_code(address);
        }
        if make_room(writer, block.site) && block.site != 0 {
            writer.lane.vanished(block.site, block.size);
        }
    }
    is_entered == Some(true)
}

#[cold]
#[inline(never)]
fn lost(size: usize) {
    agent::header().lost_events.fetch_add(1, Relaxed);
    agent::header().lost_bytes.fetch_add(size as u64, Relaxed);
}

fn make_room(writer: &Writer, site: u32) -> bool {
    writer.lane.has(site) || agent::with_cold(|cold| writer.lane.make_chunk(&mut cold.memory, site)) == Some(true)
}

/// A block is about to be released: the usual case. False, and nothing has changed, if it is another: then call [`released`].
#[inline(always)]
pub fn released_usual<V: Layout>(thread: &mut Thread, address: usize) -> bool {
    thread.inside = IN_RECORDER;
    // In this order, so that little is kept from one to the next, and no register need be saved. (To leave a peak is right at any time.)
    if let Some((writer, here)) = usual::<V>(thread, Kind::RELEASE)
        && let Some(live) = leave_peak::<V>(writer)
        && let Some(block) = LIVE.plain(address)
        && is_at_hand::<V>(writer, block.site())
    {
        let (owner, size) = (block.site(), block.take());
        count_released::<V>(writer, live, owner, here, size, thread.last_allocation == address);
        return true;
    }
    false
}

/// A block is about to be released, and [`released_usual`] was not true of it.
#[inline(always)]
pub fn released<V: Layout>(thread: &mut Thread, address: usize) {
    let taken = take(thread, address);
    released_anyhow::<V>(thread, address, taken);
}

/// A block is about to be released inside a real allocator ([`agent::nested_thread`]): nothing to record, unless it was recorded itself.
#[cold]
#[inline(never)]
pub fn released_inside(address: usize) {
    let Some(handle) = agent::nested_thread() else { return };
    let thread = handle.state();
    let taken = take(thread, address);
    if !taken.is_nothing() {
        thread.stack.distrust();
        (chosen().released_taken)(thread, address, taken);
    }
    handle.set_inside(IN_ALLOCATOR);
}

/// A block is being resized inside a real allocator: if it was recorded, the new one is as well.
#[cold]
#[inline(never)]
pub fn resized_inside(
    old: usize,
    size: usize,
    allocator: Allocator,
    call: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some(handle) = agent::nested_thread() else { return call() };
    let taken = take(handle.state(), old);
    handle.set_inside(IN_ALLOCATOR);
    let new = call();
    if taken.is_nothing() {
        return new;
    }
    let thread = handle.state();
    if new.is_null() && size != 0 {
        put_back(thread, old, taken);
    } else {
        thread.stack.distrust();
        (chosen().reallocated)(thread, old, taken, new, size, allocator);
    }
    handle.set_inside(IN_ALLOCATOR);
    new
}

/// The same as [`released`] for a block that was taken out of the table.
#[inline(always)]
fn released_block<V: Layout>(thread: &mut Thread, address: usize, taken: Taken) {
    if taken.is_plain()
        && let Some((writer, here)) = usual::<V>(thread, Kind::RELEASE)
        && is_at_hand::<V>(writer, taken.site())
        && let Some(live) = leave_peak::<V>(writer)
    {
        return count_released::<V>(writer, live, taken.site(), here, taken.size(), thread.last_allocation == address);
    }
    released_moved::<V>(thread, address, taken);
}

/// After a call or a return, and for all that is less usual.
#[inline(never)]
fn released_moved<V: Layout>(thread: &mut Thread, address: usize, taken: Taken) {
    released_anyhow::<V>(thread, address, taken);
}

#[inline(always)]
fn released_anyhow<V: Layout>(thread: &mut Thread, address: usize, taken: Taken) {
    if taken.is_plain()
        && let Some((writer, site)) = with_gil::<V>(thread, Kind::RELEASE)
        && let Some(here) = writer.lane.counted(site)
        && is_at_hand::<V>(writer, taken.site())
        && let Some(live) = leave_peak::<V>(writer)
    {
        return count_released::<V>(writer, live, taken.site(), here, taken.size(), thread.last_allocation == address);
    }
    released_rare::<V>(thread, address, taken);
}

/// A thread without the GIL, a block that nobody saw, a code object, one that the side table holds, or a site beyond the first thousands.
#[inline(never)]
fn released_rare<V: Layout>(thread: &mut Thread, address: usize, taken: Taken) {
    let block = LIVE.resolve(address, taken);
    if block.is_some_and(|block| block.is_code) {
        stack::forget_code(address);
        thread.stack.distrust();
    }
    let Some(block) = block.filter(|block| block.site != 0) else {
        agent::header().unknown_releases.fetch_add(1, Relaxed);
        return;
    };
    let is_temporary = thread.last_allocation == address;
    let Some((writer, site)) = here::<V>(thread, Kind::RELEASE) else { return lost(0) };
    released_slow(writer, site, block.site, block.size, is_temporary);
}

/// A block is about to be released by whoever holds the GIL, and no stack must be walked: it belongs to none.
#[cold]
#[inline(never)]
pub fn released_between_stacks<V: Layout>(thread: &mut Thread, address: usize) {
    let taken = take(thread, address);
    let Some(block) = LIVE.resolve(address, taken).filter(|block| block.site != 0) else {
        agent::header().unknown_releases.fetch_add(1, Relaxed);
        return;
    };
    let is_temporary = thread.last_allocation == address;
    thread.stack.distrust();
    let writer = if V::HAS_GIL { Some(agent::main_writer()) } else { own_writer(thread) };
    let Some(writer) = writer else { return lost(0) };
    // SAFETY: `PyMem_Free` is called with the GIL, whose holder writes lane 0 (else the writer is this thread's own); without a thread state no
    // frame is read.
    let (writer, site) = unsafe {
        let writer = &mut *writer;
        stack::refresh_keys(writer);
        let site = stack::site::<V>(&mut thread.stack, writer, null(), Kind::RELEASE);
        (writer, site)
    };
    match site {
        Some(site) => released_slow(writer, site, block.site, block.size, is_temporary),
        None => lost(0),
    }
}

/// The block may belong to a site of which this lane has no figures yet.
#[cold]
#[inline(never)]
fn released_slow(writer: &Writer, site: u32, owner: u32, size: u64, is_temporary: bool) {
    let has_room = make_room(writer, owner) && make_room(writer, site);
    if !has_room || !writer.lane.released(owner, site, size, 1, is_temporary, true) {
        lost(0);
    }
}

/// A block was moved or resized: one event, two figures. `new` is null if it was released by that. Closes the hook and hands the block back.
#[inline(always)]
pub fn reallocated<V: Layout>(
    thread: &mut Thread,
    old: usize,
    taken: Taken,
    new: *mut c_void,
    size: usize,
    allocator: Allocator,
) -> *mut c_void {
    thread.inside = IN_RECORDER;
    if old != 0 {
        released_block::<V>(thread, old, taken);
    }
    allocated::<V>(thread, new, size, allocator)
}

/// Takes the block out of the table: before a `free` or a `realloc`, whose old address another thread may get at once.
#[inline(always)]
pub fn take(thread: &mut Thread, address: usize) -> Taken {
    thread.inside = IN_RECORDER;
    if address == 0 { Taken::NOTHING } else { LIVE.take(address) }
}

/// The `realloc` failed: the block is what it was.
#[cold]
pub fn put_back(thread: &mut Thread, address: usize, taken: Taken) {
    thread.inside = IN_RECORDER;
    if let Some(block) = LIVE.resolve(address, taken) {
        agent::with_cold(|cold| LIVE.put_back(&mut cold.memory, address, block));
    }
}

/// Figures of a mapping: `bytes` and `blocks` of `owner` are gone.
pub fn unmapped(writer: &'static Writer, owner: u32, here: u32, bytes: u64, blocks: i32, class: Class) {
    let has_room = make_room(writer, owner) && make_room(writer, here);
    if !has_room || !writer.lane.released(owner, here, bytes, blocks, false, class == Class::Heap) {
        lost(0);
    }
    count_mapped(class, -(bytes as i64));
}

/// Figures of a mapping: it is new.
pub fn mapped(writer: &'static Writer, site: u32, bytes: u64, class: Class) {
    if !make_room(writer, site) || !writer.lane.allocated(site, bytes, class == Class::Heap) {
        lost(bytes as usize);
    }
    count_mapped(class, bytes as i64);
}

/// The totals of mappings that are not heap.
fn count_mapped(class: Class, change: i64) {
    let header = agent::header();
    match class {
        Class::Heap => {}
        Class::File => _ = header.file_mapped_bytes.fetch_add(change, Relaxed),
        Class::Shared => {
            let now = header.shared_mapped_bytes.fetch_add(change, Relaxed) + change;
            header.shared_mapped_peak.fetch_max(now, Relaxed);
        }
    }
}

/// A pointer as an address; null is 0.
#[inline(always)]
pub fn address(pointer: *const c_void) -> usize {
    NonNull::new(pointer.cast_mut()).map_or(0, |pointer| pointer.as_ptr() as usize)
}
