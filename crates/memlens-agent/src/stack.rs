//! Which Python frames are running: a walk that trusts what it saw last time and pays for what changed.
//!
//! Each thread keeps the stack of its last event, outermost frame first, with the node of each frame. At the next event the walk
//! starts at the innermost frame, finds where the chain meets the kept one, and then holds the rest of the chain against
//! the kept one, frame by frame. That comparison is sound without any help from the interpreter: a frame at the same address with the same
//! running instruction has the same node if its caller has. It is also fast, for the addresses to load next are known
//! from the kept stack, so that the processor need not wait for one `previous` pointer to load the next frame: about 4 cycles a
//! frame.
//!
//! A node is found by (parent's node, instruction), without looking at the code object: instructions are unique among live code
//! objects and live copies of their instructions, and what is released has its keys forgotten ([`forget_code`]). A kept stack that is older than
//! such a release is not trusted.
#[cfg(feature = "check-stacks")]
pub mod check;

use crate::agent::{self, Cold, Writer};
use crate::process_memory::ProcessMemory;
use crate::{event, python, thread, waiting};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null, null_mut};
use core::sync::atomic::Ordering::Relaxed;
use memlens_cpython::code::read_code;
use memlens_cpython::layout::{self, Layout, Place, Seal, seal_of};
use memlens_cpython::line_table::LineCursor;
use memlens_format::shared::{NODE_ROOT, SITE_KIND_RELEASE, SITE_KIND_RELEASE_FILE};
use memlens_recorder::Memory;
use memlens_recorder::intern::{CodeFacts, LiveCode, RawText};
use memlens_recorder::key_table::Key;
use memlens_recorder::live_table::LEAST_CODE_BYTES;
use memlens_recorder::recent::{CountedSite, Row};

/// [`Key::instruction`] where no Python frame is running.
const NO_FRAME: u64 = 1;
/// [`Stack::top`] of a stack that is not to be trusted. No frame is there, and null means that no frame is running.
const NOWHERE: *const c_void = core::ptr::without_provenance(1);
/// [`Entry::node`] of an innermost frame whose node nobody has asked for yet.
const UNKNOWN_NODE: u32 = u32::MAX;
/// New frames that one event may find above the kept ones before the slow way is taken.
const MAX_FRESH: usize = 16;
/// How far to look for a frame that does not lie where the order of addresses suggests (generators live in the heap).
const PROBES: usize = 3;
const FIRST_CAPACITY: u32 = 128;
/// No recursion is deeper than this; a chain that goes in a circle is.
const MAX_DEPTH: u32 = 1 << 22;

/// What is asked at a place: its node, a site of an allocator, or a release site.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind(u8);

impl Kind {
    /// The place itself.
    pub const NODE: Self = Self(0);
    /// Releases of heap.
    pub const RELEASE: Self = Self(SITE_KIND_RELEASE as u8);
    /// Releases of file-backed mappings.
    pub const RELEASE_FILE: Self = Self(SITE_KIND_RELEASE_FILE as u8);

    /// Allocations.
    #[inline(always)]
    pub const fn allocation(allocator: memlens_format::Allocator) -> Self {
        Self(allocator as u8 + 1)
    }

    /// [`memlens_format::shared::SiteRecord::kind`].
    fn shared(self) -> u32 {
        if self.0 >= Self::RELEASE_FILE.0 { u32::from(self.0) } else { u32::from(self.0) - 1 }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    frame: *const c_void,
    key: u64,
    node: u32,
}

/// The stack as it was at the last event.
#[repr(C)]
pub struct Stack {
    /// The innermost frame, the node of its caller, and the recent sites under that node of who writes in the usual case.
    top: *const c_void,
    top_row: Row,
    top_parent: u32,
    length: u32,
    entries: *mut Entry,
    capacity: u32,
    code_epoch: u32,
    /// What stands below the outermost frame: the root, or the name of the running task.
    base: u32,
}

impl Stack {
    const NONE: Self = Self {
        top: NOWHERE,
        top_row: Row::NONE,
        top_parent: NODE_ROOT,
        length: 0,
        entries: null_mut(),
        capacity: 0,
        code_epoch: 0,
        base: NODE_ROOT,
    };

    /// An empty one, which has no memory before there is a frame.
    pub fn new() -> Self {
        Self { code_epoch: agent::code_epoch(), ..Self::NONE }
    }

    /// What is kept is to be held against the interpreter's frames at the next event.
    pub fn distrust(&mut self) {
        self.top = NOWHERE;
    }

    /// From now on the outermost frame stands on this node.
    pub fn rest_on(&mut self, base: u32) {
        (self.base, self.length) = (base, 0);
        self.distrust();
    }

    /// Forgets the stack, and gives its memory back: the thread ends.
    pub fn give_back(&mut self, memory: &mut ProcessMemory) {
        if let Some(entries) = NonNull::new(self.entries) {
            // SAFETY: `grow` had it for so many entries, and this is the last that anybody knows of it.
            unsafe { memory.give_back(entries.cast(), self.capacity as usize * size_of::<Entry>()) };
        }
        *self = Self::NONE;
    }

    #[inline(always)]
    fn entry(&self, index: usize) -> NonNull<Entry> {
        // SAFETY: callers stay below `capacity`, to which `entries` has room.
        unsafe { NonNull::new_unchecked(self.entries.add(index)) }
    }

    #[inline(always)]
    fn get(&self, index: usize) -> Entry {
        // SAFETY: entries below `length` were written.
        unsafe { self.entry(index).read() }
    }

    #[inline(always)]
    fn push(&mut self, entry: Entry) -> bool {
        if self.length == self.capacity && !self.grow() {
            return false;
        }
        // SAFETY: there is room for it.
        unsafe { self.entry(self.length as usize).write(entry) };
        self.length += 1;
        true
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> bool {
        let bytes = self.capacity as usize * size_of::<Entry>();
        let capacity = (self.capacity * 2).max(FIRST_CAPACITY);
        let room = capacity as usize * size_of::<Entry>();
        let Some(entries) = agent::with_cold(|cold| cold.memory.private(room)).flatten() else { return false };
        let entries = entries.cast::<Entry>();
        if let Some(old) = NonNull::new(self.entries) {
            // SAFETY: the old entries fill `bytes`, which an earlier call had for them, and there is room for more; nobody else knows of them.
            unsafe {
                entries.copy_from_nonoverlapping(old, self.capacity as usize);
                agent::with_cold(|cold| cold.memory.give_back(old.cast(), bytes));
            }
        }
        (self.entries, self.capacity) = (entries.as_ptr(), capacity);
        true
    }

    /// Where in the kept stack `frame` is, looking downward from `below`. Frames mostly lie in the order of their addresses.
    #[inline(always)]
    fn find(&self, frame: *const c_void, below: usize) -> (usize, bool) {
        let mut at = below;
        while at > 0 && self.get(at - 1).frame > frame {
            at -= 1;
        }
        if at > 0 && self.get(at - 1).frame == frame {
            return (at - 1, true);
        }
        for index in (below.saturating_sub(PROBES)..below).rev() {
            if self.get(index).frame == frame {
                return (index, true);
            }
        }
        (below, false)
    }
}

/// The place of `kind` in the usual case: the same frame as at the last event, which has not left since, at a place that was used lately.
///
/// Budget: five loads in two cache lines of the interpreter's, one line of the recent sites; no store, no call, no multiplication.
///
/// # Safety
/// As [`site`], and the thread was found [open](agent::open_thread) at this event, so that no code object was released since the last one.
#[inline(always)]
pub unsafe fn usual_place<V: Layout>(stack: &Stack, tstate: *const c_void, kind: Kind) -> Option<CountedSite> {
    if !V::CAN_SEAL {
        return None;
    }
    // SAFETY: the caller's promise; equal to the innermost frame, `top` is one. Versions that can seal name an instruction by its address; its row is of the
    // cache of who writes now (`usual_row`), which stays as long as the stack.
    unsafe {
        if V::current_frame(tstate) != stack.top {
            return None;
        }
        let top = thread::as_if_loaded(stack.top);
        let key = V::instruction_key(top);
        if seal_of::<V>(top, null()) != Seal::Running {
            return None;
        }
        stack.top_row.get(key, kind.0)
    }
}

/// The site of `kind` at the running instruction of the thread's Python stack.
///
/// Budget: a load and two compares a kept frame, one key lookup a changed frame and one for the site; no lock, no call.
///
/// # Safety
/// `tstate` must be null or a thread state of version `V` whose frames are the calling thread's and do not change meanwhile, and
/// `writer` one that the calling thread may write.
#[inline(always)]
pub unsafe fn site<V: Layout>(
    stack: &mut Stack,
    writer: &mut Writer,
    tstate: *const c_void,
    kind: Kind,
) -> Option<u32> {
    // SAFETY: the caller's promise.
    let top = if tstate.is_null() { tstate } else { unsafe { V::current_frame(tstate) } };
    if top.is_null() {
        if kind == Kind::NODE {
            return None;
        }
        let parent = if writer.is_main { NODE_ROOT } else { writer.name.node(waiting::node()) };
        return site_at::<V>(writer, parent, top, NO_FRAME, kind);
    }
    // SAFETY: `top` is the innermost frame of the calling thread.
    unsafe {
        let key = V::instruction_key(top);
        let is_known = V::CAN_SEAL
            && top == stack.top
            && seal_of::<V>(top, null()) == Seal::Running
            && stack.code_epoch == agent::code_epoch();
        if is_known {
            return site_of_known_frame::<V>(stack, writer, key, kind);
        }
        let parent = follow::<V>(stack, writer, top)?;
        #[cfg(feature = "check-stacks")]
        check::holds::<V>(stack.base, writer, top, parent);
        site_at::<V>(writer, parent, top, key, kind)
    }
}

#[inline(always)]
fn site_at<V: Layout>(writer: &mut Writer, parent: u32, frame: *const c_void, key: u64, kind: Kind) -> Option<u32> {
    match writer.keys.get(Key { instruction: key, context: Key::context(parent, kind.0) }) {
        Some(site) => Some(site),
        None => new_site::<V>(writer, parent, frame, key, kind),
    }
}

/// [`site_at`] for a frame that has not left since its last event: it may be in a loop, and so the site is remembered.
///
/// # Safety
/// As [`site`].
#[inline(always)]
unsafe fn site_of_known_frame<V: Layout>(stack: &Stack, writer: &mut Writer, key: u64, kind: Kind) -> Option<u32> {
    let place = Key { instruction: key, context: Key::context(stack.top_parent, kind.0) };
    let Some(site) = writer.keys.get(place) else {
        return new_site::<V>(writer, stack.top_parent, stack.top, key, kind);
    };
    if kind != Kind::NODE
        && writer.recent.is_some()
        && let Some(found) = writer.lane.counted(site)
    {
        // SAFETY: whose writer has recent sites, and is known to have left the stack so, writes in the usual case.
        unsafe { stack.top_row.put(key, kind.0, found) };
    }
    Some(site)
}

/// The recent sites under a node, of who writes when everything is found as at the last event.
#[inline(always)]
fn usual_row<V: Layout>(writer: &Writer, parent: u32) -> Row {
    // SAFETY: lane 0's writer is there as soon as anything is recorded, and where its recent sites lie never changes.
    let recent = if V::HAS_GIL { unsafe { (&raw const (*agent::main_writer()).recent).read() } } else { writer.recent };
    recent.map_or(Row::NONE, |recent| recent.row(parent))
}

#[inline(always)]
fn node_at<V: Layout>(writer: &mut Writer, parent: u32, frame: *const c_void, key: u64) -> Option<u32> {
    match writer.keys.get(Key { instruction: key, context: Key::context(parent, Kind::NODE.0) }) {
        Some(node) => Some(node),
        None => new_node::<V>(writer, parent, frame, key),
    }
}

/// Brings the kept stack up to date; returns the node of the caller of `top`.
///
/// # Safety
/// As [`site`]; `top` is the innermost frame.
#[inline(always)]
unsafe fn follow<V: Layout>(stack: &mut Stack, writer: &mut Writer, top: *const c_void) -> Option<u32> {
    // SAFETY: the caller's promise; for a `top` that is kept there are entries.
    unsafe {
        if V::CAN_SEAL {
            if let Some(parent) = step::<V>(stack, writer, top) {
                (stack.top, stack.top_parent, stack.top_row) = (top, parent, usual_row::<V>(writer, parent));
                return Some(parent);
            }
        } else if stack.top == top && stack.code_epoch == agent::code_epoch() {
            let last = stack.entries.add(stack.length as usize - 1);
            if is_unchanged_below::<V>(stack.entries, last) {
                return Some(stack.top_parent);
            }
        }
    }
    // SAFETY: the caller's promise.
    let parent = unsafe { catch_up::<V>(stack, writer, top) };
    match parent {
        Some(node) => (stack.top, stack.top_parent, stack.top_row) = (top, node, usual_row::<V>(writer, node)),
        // A table is full: what is kept may be half of this and half of that.
        None => (stack.top, stack.length) = (NOWHERE, 0),
    }
    parent
}

/// [`catch_up`] for what changes most often: a call, a return, or a return and a call, with a caller's caller that is sealed. `None`, and nothing
/// has changed, if it was something else.
///
/// # Safety
/// As [`follow`].
#[inline(always)]
unsafe fn step<V: Layout>(stack: &mut Stack, writer: &mut Writer, top: *const c_void) -> Option<u32> {
    if stack.length < 3 || stack.code_epoch != agent::code_epoch() {
        return None;
    }
    // SAFETY: the caller's promise. The kept frame is in the chain, for it is `top` or what `top` was called from.
    unsafe {
        let last = stack.length as usize - 1;
        let previous = V::previous(top);
        let (innermost, caller) = (stack.get(last).frame, stack.get(last - 1).frame);
        let (kept, is_fresh) = if top == innermost {
            (last, false)
        } else if top == caller {
            (last - 1, false)
        } else if previous == innermost {
            (last, true)
        } else if previous == caller {
            (last - 1, true)
        } else {
            return None;
        };
        let (entry, below) = (stack.get(kept), stack.get(kept - 1));
        let is_at_rest = V::previous(entry.frame) == below.frame
            && below.node != UNKNOWN_NODE
            && match seal_of::<V>(below.frame, entry.frame) {
                Seal::Waiting => true,
                Seal::Running => V::instruction_key(below.frame) == below.key,
                Seal::Broken => false,
            };
        if !is_at_rest {
            return None;
        }
        let top_entry = Entry { frame: top, key: V::instruction_key(top), node: UNKNOWN_NODE };
        if !is_fresh {
            layout::seal::<V>(top, null());
            stack.entry(kept).write(top_entry);
            stack.length = kept as u32 + 1;
            return Some(below.node);
        }
        let key = V::instruction_key(entry.frame);
        let is_known = key == entry.key && entry.node != UNKNOWN_NODE;
        let node = if is_known { entry.node } else { node_at::<V>(writer, below.node, entry.frame, key)? };
        if kept + 2 > stack.capacity as usize {
            return None;
        }
        layout::seal::<V>(entry.frame, top);
        layout::seal::<V>(top, null());
        stack.entry(kept).write(Entry { key, node, ..entry });
        stack.entry(kept + 1).write(top_entry);
        stack.length = kept as u32 + 2;
        Some(node)
    }
}

/// Whether the frames below the kept frame `entry`, which is in the chain, are the kept ones, at the instructions where they were.
///
/// # Safety
/// `entry` is one of the kept entries, which begin at `first`, and its frame in the calling thread's chain.
#[inline(always)]
unsafe fn is_unchanged_below<V: Layout>(first: *const Entry, mut entry: *const Entry) -> bool {
    // SAFETY: the caller's promise; each further frame is read only after `previous` was seen to point to it.
    unsafe {
        while entry > first {
            let previous = V::previous((*entry).frame);
            entry = entry.sub(1);
            if previous != (*entry).frame || V::instruction_key((*entry).frame) != (*entry).key {
                return false;
            }
        }
        V::previous((*entry).frame).is_null()
    }
}

/// The stack has changed: a call, a return, or a caller that has moved on.
///
/// # Safety
/// As [`follow`].
#[inline(never)]
unsafe fn catch_up<V: Layout>(stack: &mut Stack, writer: &mut Writer, top: *const c_void) -> Option<u32> {
    if stack.code_epoch != agent::code_epoch() {
        stack.length = 0;
        stack.code_epoch = agent::code_epoch();
    }
    let mut fresh = [MaybeUninit::<*const c_void>::uninit(); MAX_FRESH];
    let mut fresh_count = 0;
    let (mut frame, mut below) = (top, stack.length as usize);
    // Up from the innermost frame to the first that is kept.
    let kept = loop {
        let (at, found) = stack.find(frame, below);
        if found {
            break at;
        }
        if fresh_count == MAX_FRESH {
            // SAFETY: the caller's promise.
            return unsafe { rebuild::<V>(stack, writer, top) };
        }
        fresh[fresh_count].write(frame);
        fresh_count += 1;
        below = at;
        // SAFETY: a frame of the calling thread's chain.
        frame = unsafe { V::previous(frame) };
        if frame.is_null() {
            // SAFETY: the caller's promise.
            return unsafe { rebuild::<V>(stack, writer, top) };
        }
    };
    // SAFETY: written above.
    let above = if fresh_count == 0 { null() } else { unsafe { fresh[fresh_count - 1].assume_init() } };
    // SAFETY: the kept frame was just met in the chain.
    let Some(lowest) = (unsafe { lowest_changed::<V>(stack, kept, above) }) else {
        // SAFETY: the caller's promise.
        return unsafe { rebuild::<V>(stack, writer, top) };
    };
    stack.length = kept as u32 + 1;
    // SAFETY: `lowest` and all kept frames above it are in the chain.
    let mut parent = unsafe { renew::<V>(stack, writer, lowest, fresh_count > 0) }?;
    for index in (0..fresh_count).rev() {
        // SAFETY: written above; a frame of the calling thread's chain.
        let (frame, key) = unsafe {
            let frame = fresh[index].assume_init();
            if V::CAN_SEAL {
                let above = if index == 0 { null() } else { fresh[index - 1].assume_init() };
                layout::seal::<V>(frame, above);
            }
            (frame, V::instruction_key(frame))
        };
        let node = if index > 0 { node_at::<V>(writer, parent, frame, key)? } else { UNKNOWN_NODE };
        if !stack.push(Entry { frame, key, node }) {
            return None;
        }
        if index > 0 {
            parent = node;
        }
    }
    Some(parent)
}

/// The outermost kept frame, up to `kept`, whose instruction has changed (or `kept`); `None` if the chain below is another.
/// Seals what it passes, and stops at a frame that is still sealed.
///
/// # Safety
/// The kept frame at index `kept` must be in the calling thread's chain, and `above` the frame that it called, or null.
#[inline(always)]
unsafe fn lowest_changed<V: Layout>(stack: &Stack, kept: usize, mut above: *const c_void) -> Option<usize> {
    let mut lowest = kept;
    let mut index = kept;
    loop {
        let entry = stack.get(index);
        // SAFETY: each frame is read only after `previous` was seen to point to it.
        unsafe {
            let seal = if V::CAN_SEAL { seal_of::<V>(entry.frame, above) } else { Seal::Broken };
            if seal != Seal::Waiting && V::instruction_key(entry.frame) != entry.key {
                lowest = index;
            }
            if seal != Seal::Broken {
                return Some(lowest);
            }
            if V::CAN_SEAL {
                layout::seal::<V>(entry.frame, above);
            }
            let previous = V::previous(entry.frame);
            if index == 0 {
                return previous.is_null().then_some(lowest);
            }
            if previous != stack.get(index - 1).frame {
                return None;
            }
        }
        above = entry.frame;
        index -= 1;
    }
}

/// Finds the nodes of the kept frames from `lowest` up anew, for one below them has moved on. Returns the node of the last but one
/// kept frame, or of the last if `is_waiting` says that it has called another.
///
/// # Safety
/// The kept frames must be in the calling thread's chain.
#[inline(always)]
unsafe fn renew<V: Layout>(stack: &mut Stack, writer: &mut Writer, lowest: usize, is_waiting: bool) -> Option<u32> {
    let last = stack.length as usize - 1;
    let mut parent = if lowest == 0 { stack.base } else { stack.get(lowest - 1).node };
    for index in lowest..=last {
        let mut entry = stack.get(index);
        // SAFETY: the caller's promise.
        let key = unsafe { V::instruction_key(entry.frame) };
        if index == last && !is_waiting {
            // The innermost frame's own node is not needed yet.
            // SAFETY: an index below `length`.
            unsafe { stack.entry(index).write(Entry { key, node: UNKNOWN_NODE, ..entry }) };
            return Some(parent);
        }
        let is_known = lowest == last && key == entry.key && entry.node != UNKNOWN_NODE;
        if !is_known {
            entry = Entry { key, node: node_at::<V>(writer, parent, entry.frame, key)?, ..entry };
            // SAFETY: an index below `length`.
            unsafe { stack.entry(index).write(entry) };
        }
        parent = entry.node;
    }
    Some(parent)
}

/// Another stack than the kept one: a first event, another greenlet, a generator resumed from elsewhere, a deep call.
///
/// # Safety
/// As [`follow`].
#[cold]
#[inline(never)]
unsafe fn rebuild<V: Layout>(stack: &mut Stack, writer: &mut Writer, top: *const c_void) -> Option<u32> {
    stack.length = 0;
    let (mut frame, mut above) = (top, null());
    while !frame.is_null() {
        // SAFETY: a frame of the calling thread's chain.
        let key = unsafe {
            if V::CAN_SEAL {
                layout::seal::<V>(frame, above);
            }
            V::instruction_key(frame)
        };
        if stack.length == MAX_DEPTH || !stack.push(Entry { frame, key, node: UNKNOWN_NODE }) {
            stack.length = 0;
            return None;
        }
        above = frame;
        // SAFETY: as above.
        frame = unsafe { V::previous(frame) };
    }
    let length = stack.length as usize;
    for index in 0..length / 2 {
        let (low, high) = (stack.get(index), stack.get(length - 1 - index));
        // SAFETY: indices below `length`.
        unsafe {
            stack.entry(index).write(high);
            stack.entry(length - 1 - index).write(low);
        }
    }
    let mut parent = stack.base;
    for index in 0..length - 1 {
        let entry = stack.get(index);
        let Some(node) = node_at::<V>(writer, parent, entry.frame, entry.key) else {
            stack.length = 0;
            return None;
        };
        // SAFETY: an index below `length`.
        unsafe { stack.entry(index).write(Entry { node, ..entry }) };
        parent = node;
    }
    Some(parent)
}

/// A frame that was not met under this parent before.
#[cold]
#[inline(never)]
fn new_node<V: Layout>(writer: &mut Writer, parent: u32, frame: *const c_void, key: u64) -> Option<u32> {
    if refresh_keys(writer) {
        return node_at::<V>(writer, parent, frame, key);
    }
    let node = agent::with_cold(|cold| {
        let (node, term) = intern_node::<V>(cold, parent, frame)?;
        let key = Key { instruction: key, context: Key::context(parent, Kind::NODE.0) };
        remember(cold, writer, key, term, node)?;
        Some(node)
    });
    node.flatten().or_else(tables_are_full)
}

/// A kind of event that was not met at this place before.
#[cold]
#[inline(never)]
fn new_site<V: Layout>(writer: &mut Writer, parent: u32, frame: *const c_void, key: u64, kind: Kind) -> Option<u32> {
    if kind == Kind::NODE {
        return new_node::<V>(writer, parent, frame, key);
    }
    if refresh_keys(writer) {
        return site_at::<V>(writer, parent, frame, key, kind);
    }
    let site = agent::with_cold(|cold| {
        let (node, term) =
            if frame.is_null() { (parent, Term::Forever) } else { intern_node::<V>(cold, parent, frame)? };
        let site = cold.interner.site(&mut cold.memory, node, kind.shared())?;
        if !writer.lane.make_chunk(&mut cold.memory, site) {
            return None;
        }
        let key = Key { instruction: key, context: Key::context(parent, kind.0) };
        remember(cold, writer, key, term, site)?;
        Some(site)
    });
    site.flatten().or_else(tables_are_full)
}

/// A lane forgets all its keys when any code object was released since, but by who may write the lane ([`forget_code`]).
#[inline(always)]
pub fn refresh_keys(writer: &mut Writer) -> bool {
    let epoch = agent::code_epoch();
    writer.code_epoch != epoch && forget_keys(writer, epoch)
}

#[cold]
#[inline(never)]
fn forget_keys(writer: &mut Writer, epoch: u32) -> bool {
    writer.keys.clear();
    if let Some(recent) = &mut writer.recent {
        recent.clear();
    }
    writer.code_epoch = epoch;
    if writer.is_main {
        agent::with_cold(|cold| cold.live_codes.forget_keys());
    }
    true
}

fn tables_are_full() -> Option<u32> {
    agent::header().is_table_full.store(1, Relaxed);
    None
}

/// How long a key is right that names an instruction.
#[derive(Clone, Copy)]
enum Term {
    /// It names none.
    Forever,
    /// As long as its code object lives, and where it is a copy's instruction the copy: their releases are told.
    Code(LiveCode),
    /// Nobody would tell.
    Once,
}

/// The node of a frame, and for how long.
fn intern_node<V: Layout>(cold: &mut Cold, parent: u32, frame: *const c_void) -> Option<(u32, Term)> {
    // SAFETY: `frame` is in the calling thread's chain, whose frames do not change meanwhile.
    match unsafe { V::place(frame, python::found().code_type) } {
        Place::Unreadable => {
            agent::header().unreadable_stacks.fetch_add(1, Relaxed);
            Some((parent, if V::HAS_GIL { Term::Forever } else { Term::Once }))
        }
        Place::Hidden { code } if code.is_null() => Some((parent, Term::Forever)),
        // What is known of a hidden frame is as short-lived as its code object.
        Place::Hidden { code } => {
            let known = known_code::<V>(cold, code)?;
            Some((parent, term_of::<V>(cold, frame, known)))
        }
        Place::Code { code, instruction } => {
            let known = known_code::<V>(cold, code)?;
            let line = line_of::<V>(cold, known, code, instruction);
            let node = cold.interner.node(&mut cold.memory, parent, known.code, line)?;
            Some((node, term_of::<V>(cold, frame, known)))
        }
    }
}

/// A copy of the code object's instructions may be released first (`sys._clear_internal_caches`), and is in any case not released at the same moment.
fn term_of<V: Layout>(cold: &mut Cold, frame: *const c_void, code: LiveCode) -> Term {
    // SAFETY: `V::place` has found the code object.
    match unsafe { V::instruction_copy(frame) } {
        Some(copy) if copy.bytes < LEAST_CODE_BYTES => Term::Once,
        Some(copy) if !agent::LIVE.mark_code(&mut cold.memory, event::address(copy.address)) => Term::Once,
        _ => Term::Code(code),
    }
}

/// A code object, whose record is made when it is first met.
fn known_code<V: Layout>(cold: &mut Cold, address: *const c_void) -> Option<LiveCode> {
    if let Some(code) = cold.live_codes.get(address as usize) {
        return Some(code);
    }
    // SAFETY: a frame that is running holds a reference to its code object.
    let code = unsafe { read_code(address, &V::CODE) };
    let text = |text: memlens_cpython::code::Text<'static>| RawText { bytes: text.bytes, width: text.width };
    let facts = CodeFacts { name: text(code.name), file: text(code.file), first_line: code.first_line };
    let code = cold.interner.code(&mut cold.memory, &facts)?;
    // SAFETY: as above; where there is a GIL, ob_refcnt is the first word of every object.
    if !V::HAS_GIL || unsafe { address.cast::<u32>().read() } < IMMORTAL {
        agent::LIVE.mark_code(&mut cold.memory, address as usize);
    }
    cold.live_codes.insert(&mut cold.memory, address as usize, code)
}

/// The line of an instruction, 0 if it has none. A stack is one of lines, not of instructions: the two calls of `f(n - 1) + f(n - 2)`
/// are one place, else a recursion would have as many stacks as there are paths through it.
fn line_of<V: Layout>(cold: &mut Cold, known: LiveCode, address: *const c_void, instruction: u32) -> u32 {
    cold.lines.line(known.serial, instruction, || {
        // SAFETY: the code object is alive.
        let code = unsafe { read_code(address, &V::CODE) };
        LineCursor::new(code.line_table, code.first_line, V::MINOR << 16 | 0x0300_0000)
    })
}

/// Enters a key in the writer's table; lane 0's also in the list of the code object, to be forgotten with it.
fn remember(cold: &mut Cold, writer: &mut Writer, key: Key, term: Term, value: u32) -> Option<()> {
    if matches!(term, Term::Once) {
        return Some(());
    }
    if !writer.keys.insert(&mut cold.memory, key, value) {
        return None;
    }
    match term {
        Term::Code(code) if writer.is_main => cold.live_codes.add_key(&mut cold.memory, code, key),
        _ => Some(()),
    }
}

/// Reference counts from here on belong to objects that are never released: those that are compiled into the interpreter
/// (3.11: 999,999,999) and immortal ones (PEP 683). Free-threaded builds keep them elsewhere, and make ordinary code objects immortal as well.
const IMMORTAL: u32 = 999_999_999;

/// The code object at `address`, or a copy of one's instructions, is about to be released.
#[cold]
#[inline(never)]
pub fn forget_code(address: usize) {
    let is_free_threaded = python::found().is_free_threaded;
    agent::with_cold(|cold| {
        // Which keys are a copy's no list tells: every lane forgets all of its own.
        let is_copy = is_free_threaded && cold.live_codes.get(address).is_none();
        if is_copy || is_free_threaded && !agent::is_main_thread() {
            cold.live_codes.remove(address, None);
            return agent::advance_code_epoch();
        }
        // SAFETY: code objects are released by whoever holds the GIL, and so may write lane 0; without a GIL it is the main thread's.
        let writer = unsafe { &mut *agent::main_writer() };
        let is_current = writer.code_epoch == agent::code_epoch();
        cold.live_codes.remove(address, Some(&mut writer.keys));
        if let Some(recent) = &mut writer.recent {
            recent.clear();
        }
        agent::advance_code_epoch();
        if is_current {
            writer.code_epoch = agent::code_epoch();
        }
    });
}
