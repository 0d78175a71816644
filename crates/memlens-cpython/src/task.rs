//! Where asyncio keeps the running task, by minor version (`Modules/_asynciomodule.c`).
//!
//! Up to 3.13 the module has a dict from each running loop to the task that it runs, and which loop a thread runs stands in the thread state's
//! dict, in 3.13 in the thread state itself. From 3.14 on the thread state has the task. The structure of a task is nobody's interface:
//! offsets were found by looking for a task's name and coroutine in its words, and hold for a type of the size that stands beside them.
//! 3.14 and newer publish them in a section of the library ([`DEBUG_SECTION`]).
use crate::layout::read;
use core::ffi::c_void;

/// Where a thread's running task is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningTask {
    /// In `_asyncio._current_tasks`, under the loop that the dict at this offset of the thread state has as [`RUNNING_LOOP`].
    OfLoopInDict(usize),
    /// In `_asyncio._current_tasks`, under the loop that follows the part of the thread state that is everybody's: at its size, which
    /// [`crate::debug_offsets`] has (304 in 3.13.0, 312 in 3.13.18).
    OfLoopBehindThreadState,
    /// In the thread state, where the library's [`DEBUG_SECTION`] says.
    InThreadState,
}

/// Offsets of one minor version.
#[derive(Clone, Copy, Debug)]
pub struct TaskOffsets {
    /// Where the task is.
    pub running: RunningTask,
    /// `sizeof(TaskObj)`.
    pub size: usize,
    /// `TaskObj.task_name`: a `str`, or an `int` for a task that nobody has named (3.12 and newer).
    pub name: usize,
    /// `TaskObj.task_coro`.
    pub coroutine: usize,
    /// `PyCoroObject.cr_qualname`, which is `PyGenObject.gi_qualname` as well.
    pub qualified_name: usize,
}

/// The key of a thread state's dict under which the running loop stands: 3.8 to 3.11 in a holder, 3.12 itself.
pub const RUNNING_LOOP: &[u8] = b"__asyncio_running_event_loop__";
/// `tp_name` of that holder, which has the loop behind its head.
pub const LOOP_HOLDER: &[u8] = b"_RunningLoopHolder";
/// The section that holds `Py_AsyncioModuleDebugOffsets` (3.14 and newer).
pub const DEBUG_SECTION: &[u8] = b".AsyncioDebug";
/// Words of that structure.
pub const DEBUG_WORDS: usize = 13;

impl TaskOffsets {
    /// Of a minor version with a GIL; `None` if they are not known.
    pub const fn of(minor: u32) -> Option<Self> {
        use RunningTask::{InThreadState, OfLoopBehindThreadState, OfLoopInDict};
        let (running, size, name, coroutine, qualified_name) = match minor {
            8 => (OfLoopInDict(152), 144, 120, 112, 56),
            9 => (OfLoopInDict(152), 184, 160, 152, 56),
            10 => (OfLoopInDict(152), 192, 168, 160, 48),
            11 => (OfLoopInDict(128), 176, 144, 136, 40),
            12 => (OfLoopInDict(112), 176, 144, 136, 32),
            13 => (OfLoopBehindThreadState, 144, 128, 120, 32),
            14 => (InThreadState, 168, 136, 128, 32),
            15 => (InThreadState, 168, 136, 128, 32),
            _ => return None,
        };
        Some(Self { running, size, name, coroutine, qualified_name })
    }

    /// Where in the thread state the task is, by the structure that the library publishes, if that says the same as we of all else. Its
    /// parts: of a task size, name, three others, coroutine, node; of an interpreter size and tasks; of a thread state size, loop, task, tasks.
    pub fn published(&self, words: &[u64; DEBUG_WORDS]) -> Option<usize> {
        let agrees = words[..2] == [self.size as u64, self.name as u64] && words[5] == self.coroutine as u64;
        (agrees && words[11].is_multiple_of(8) && words[11] < words[9]).then_some(words[11] as usize)
    }
}

/// `PyTypeObject.tp_name`, `tp_basicsize`, `tp_dealloc`, `tp_base`: the same since 3.8.
const TYPE_NAME: usize = 24;
const TYPE_SIZE: usize = 32;
const TYPE_DEALLOC: usize = 48;
const TYPE_BASE: usize = 256;

/// `ob_type`.
///
/// # Safety
/// `object` must be a live object of a build with a GIL.
pub unsafe fn type_of(object: *const c_void) -> *const c_void {
    // SAFETY: the caller's promise.
    unsafe { read(object, 8) }
}

/// `tp_name`, up to its end.
///
/// # Safety
/// `class` must be a live type of a build with a GIL, and stay so for `'a`.
pub unsafe fn type_name<'a>(class: *const c_void) -> &'a [u8] {
    // SAFETY: the caller's promise; every type has a name, a C string.
    unsafe { core::ffi::CStr::from_ptr(read(class, TYPE_NAME)) }.to_bytes()
}

/// `tp_basicsize`.
///
/// # Safety
/// As [`type_name`].
pub unsafe fn instance_bytes(class: *const c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { read(class, TYPE_SIZE) }
}

/// `tp_dealloc`, an address in the library that made the type.
///
/// # Safety
/// As [`type_name`].
pub unsafe fn release_function(class: *const c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { read(class, TYPE_DEALLOC) }
}

/// Whether `class` is `wanted` or derives from it, first bases first.
///
/// # Safety
/// As [`type_name`].
pub unsafe fn derives_from(mut class: *const c_void, wanted: *const c_void) -> bool {
    while !class.is_null() && class != wanted {
        // SAFETY: a type's base is a live type.
        class = unsafe { read(class, TYPE_BASE) };
    }
    !class.is_null()
}

/// A word of a structure.
///
/// # Safety
/// A pointer must stand at that offset.
pub unsafe fn pointer_at(base: *const c_void, offset: usize) -> *const c_void {
    // SAFETY: the caller's promise.
    unsafe { read(base, offset) }
}
