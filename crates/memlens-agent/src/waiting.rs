//! The Python frame that waits while native threads work: polars' and OpenBLAS' threads allocate for the line that called the library.
//!
//! An extension module that lets others run calls `PyEval_SaveThread`, and `PyEval_RestoreThread` when it has done its work. Where the loader has
//! put their addresses in such a module, hooks are put instead, so that the interpreter's own waits (for a lock, for a file) cost nothing. While exactly one
//! thread is between the two, what threads outside of Python allocate and release belongs to its stack; where there are several, nobody
//! knows for whom they work, and their names alone are told.
//!
//! The standard library's modules wait for others (`select`, `_ssl`), not for threads of their own: they are left alone, but for ctypes.
use crate::agent;
use crate::event::chosen;
use crate::imports::{OwnMemory, has_inherited_path, imports};
use crate::library::{Library, dynamic_of};
use crate::stack::Kind;
use crate::thread::{Handle, IN_RECORDER, OUTSIDE, Thread};
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use memlens_format::shared::{NODE_ROOT, PYTHON_SUPPORTED};

/// The interpreter's functions. The second is jumped to from assembly.
static REAL_SAVE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static REAL_RESTORE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// How many threads wait, above [`COUNT_SHIFT`], and the sum of the nodes at which they do: of a single one, its node.
static WAITING: AtomicU64 = AtomicU64::new(0);
const COUNT_SHIFT: u32 = 40;
const ONE: u64 = 1 << COUNT_SHIFT;

/// The node at which a Python frame waits, if exactly one does; else the root.
#[inline(always)]
pub fn node() -> u32 {
    let waiting = WAITING.load(Relaxed);
    if waiting >> COUNT_SHIFT == 1 { waiting as u32 } else { NODE_ROOT }
}

/// A forked child has one thread, whose places are another recording's.
pub fn begin_in_child(thread: &mut Thread) {
    thread.waiting = NODE_ROOT;
    WAITING.store(0, Relaxed);
}

/// `PyEval_SaveThread`: the calling thread still holds the GIL (or is attached, where there is none).
extern "C" fn save_thread() -> *mut c_void {
    if let Some(handle) = agent::enter() {
        begin(handle.state());
    }
    // SAFETY: CPython's function of that name, with its signature.
    unsafe { transmute::<*mut c_void, extern "C" fn() -> *mut c_void>(REAL_SAVE.load(Relaxed))() }
}

/// `PyEval_RestoreThread`. It need not return (`pthread_exit`, while the interpreter goes away), so none of our frames may be below it.
#[unsafe(naked)]
unsafe extern "C" fn restore_thread(tstate: *mut c_void) {
    core::arch::naked_asm!(
        "push rdi",
        "call {end}",
        "pop rdi",
        "jmp qword ptr [rip + {real}]",
        end = sym end_of_current,
        real = sym REAL_RESTORE,
    )
}

fn begin(thread: &mut Thread) {
    thread.inside = IN_RECORDER;
    let node = (chosen().site)(thread, Kind::NODE).map_or(NODE_ROOT, |(_, node)| node);
    // Should it wait already, then another thread has taken over what it gave up.
    end(thread);
    if node != NODE_ROOT {
        thread.waiting = node;
        WAITING.fetch_add(ONE + u64::from(node), Relaxed);
    }
    thread.inside = OUTSIDE;
}

extern "C" fn end_of_current() {
    end(Handle::current().state());
}

/// The thread waits no more.
pub fn end(thread: &mut Thread) {
    if thread.waiting != NODE_ROOT {
        WAITING.fetch_sub(ONE + u64::from(thread.waiting), Relaxed);
        thread.waiting = NODE_ROOT;
    }
}

/// The interpreter's base, and its text; an end of 0 means that nobody has looked yet, of 1 that it is to be left alone.
static INTERPRETER: AtomicUsize = AtomicUsize::new(0);
static TEXT: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));
/// Libraries that were looked at, in the loader's order, and how many had been taken out of the process then.
static SEEN: AtomicUsize = AtomicUsize::new(0);
static SEEN_UNLOADED: AtomicU64 = AtomicU64::new(0);

/// Whether it is the interpreter that opens a library: the call returns to `caller`.
///
/// Not if it has a search path for what its libraries need, which the loader would not find if the agent were the one that opens them.
pub fn is_import(caller: usize) -> bool {
    if TEXT.1.load(Acquire) == 0 {
        look_for_interpreter();
    }
    (TEXT.0.load(Relaxed)..TEXT.1.load(Relaxed)).contains(&caller)
}

#[cold]
fn look_for_interpreter() {
    let (start, end) = interpreter_text().unwrap_or((0, 1));
    TEXT.0.store(start, Relaxed);
    TEXT.1.store(end, Release);
}

fn interpreter_text() -> Option<(usize, usize)> {
    if crate::python::found().kind != PYTHON_SUPPORTED {
        return None;
    }
    for (place, name) in [(&REAL_SAVE, c"PyEval_SaveThread"), (&REAL_RESTORE, c"PyEval_RestoreThread")] {
        // SAFETY: a C string.
        let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        place.store(NonNull::new(function)?.as_ptr(), Relaxed);
    }
    let interpreter = Library::holding(REAL_SAVE.load(Relaxed) as usize)?;
    INTERPRETER.store(interpreter.base, Relaxed);
    // The program's own path is always looked at.
    (interpreter.path().is_none() || !has_inherited_path(interpreter.dynamic)).then(|| interpreter.text())
}

/// Puts the hooks in extension modules that were loaded since the last time.
///
/// Costs what `dl_iterate_phdr` costs, and of each new library a pass over the names that it imports: beside loading it.
pub fn watch_new_libraries() {
    if TEXT.1.load(Acquire) == 0 {
        look_for_interpreter();
    }
    if TEXT.1.load(Relaxed) == 1 {
        return;
    }
    let mut look = Look { memory: None, index: 0, seen: SEEN.load(Relaxed) };
    // SAFETY: `visit` takes a Look.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut look).cast()) };
    SEEN.store(look.index, Relaxed);
}

struct Look {
    /// Opened when there is something to write.
    memory: Option<OwnMemory>,
    index: usize,
    seen: usize,
}

/// Looks at one library. The loader's lock is held, so that none goes away meanwhile.
unsafe extern "C" fn visit(library: *mut libc::dl_phdr_info, _: usize, look: *mut c_void) -> c_int {
    // SAFETY: the loader's description of a library, and the Look above.
    let (library, look) = unsafe { (&*library, &mut *look.cast::<Look>()) };
    if SEEN_UNLOADED.swap(library.dlpi_subs, Relaxed) != library.dlpi_subs {
        // Those behind have moved up.
        look.seen = 0;
    }
    look.index += 1;
    if look.index <= look.seen || library.dlpi_name.is_null() {
        return 0;
    }
    let base = library.dlpi_addr as usize;
    // SAFETY: the loader's string.
    let path = unsafe { CStr::from_ptr(library.dlpi_name) }.to_bytes();
    let is_meant = base != INTERPRETER.load(Relaxed) && works_with_threads(path);
    if let Some(dynamic) = dynamic_of(library).filter(|_| is_meant) {
        // SAFETY: the library's own dynamic section.
        unsafe { imports(base, dynamic, |name, slot| hook(name, slot, &mut look.memory)) };
    }
    0
}

/// Whether a library may let threads of its own work while Python waits. The program itself has no path.
fn works_with_threads(path: &[u8]) -> bool {
    const OF_STANDARD_LIBRARY: &[u8] = b"/lib-dynload/";
    let Some(at) = path.windows(OF_STANDARD_LIBRARY.len()).rposition(|part| part == OF_STANDARD_LIBRARY) else {
        return !path.is_empty();
    };
    path[at + OF_STANDARD_LIBRARY.len()..].starts_with(b"_ctypes.")
}

fn hook(name: &CStr, slot: *const *mut c_void, memory: &mut Option<OwnMemory>) {
    let (real, hook) = match name.to_bytes() {
        b"PyEval_SaveThread" => (&REAL_SAVE, save_thread as *const c_void),
        b"PyEval_RestoreThread" => (&REAL_RESTORE, restore_thread as *const c_void),
        _ => return,
    };
    // SAFETY: the place that the relocation names.
    if unsafe { slot.read() } != real.load(Relaxed) {
        return;
    }
    if memory.is_none() {
        *memory = OwnMemory::open();
    }
    if let Some(memory) = memory {
        memory.write(slot, hook.cast_mut());
    }
}
