//! What is known of the interpreter in this process. Its functions are looked up by name, none is linked.
use crate::thread::Thread;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null;
use memlens_cpython::debug_offsets::{self, DebugOffsets};
use memlens_format::shared::{PYTHON_FREE_THREADED, PYTHON_NONE, PYTHON_OTHER, PYTHON_SUPPORTED, PYTHON_UNSUPPORTED};

type Malloc = extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Calloc = extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Realloc = extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void;
type Free = extern "C" fn(*mut c_void, *mut c_void);

/// `PyMemAllocatorEx` (`Include/cpython/pymem.h`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyMemAllocator {
    context: *mut c_void,
    malloc: Option<Malloc>,
    calloc: Option<Calloc>,
    realloc: Option<Realloc>,
    free: Option<Free>,
}

impl PyMemAllocator {
    /// All null.
    pub const NONE: Self =
        Self { context: core::ptr::null_mut(), malloc: None, calloc: None, realloc: None, free: None };

    /// An allocator of four functions.
    pub fn new(context: *mut c_void, malloc: Malloc, calloc: Calloc, realloc: Realloc, free: Free) -> Self {
        Self { context, malloc: Some(malloc), calloc: Some(calloc), realloc: Some(realloc), free: Some(free) }
    }

    /// The context's address, which tells whose allocator it is.
    pub fn context_address(&self) -> usize {
        self.context as usize
    }

    /// The same, if it has all four functions.
    pub fn whole(&self) -> Option<WholeAllocator> {
        Some(WholeAllocator {
            context: self.context,
            malloc: self.malloc?,
            calloc: self.calloc?,
            realloc: self.realloc?,
            free: self.free?,
        })
    }
}

/// A [`PyMemAllocator`] that lacks no function.
#[derive(Clone, Copy)]
pub struct WholeAllocator {
    context: *mut c_void,
    malloc: Malloc,
    calloc: Calloc,
    realloc: Realloc,
    free: Free,
}

impl WholeAllocator {
    /// Its `malloc`.
    #[inline(always)]
    pub fn malloc(&self, size: usize) -> *mut c_void {
        (self.malloc)(self.context, size)
    }

    /// Its `calloc`.
    #[inline(always)]
    pub fn calloc(&self, count: usize, size: usize) -> *mut c_void {
        (self.calloc)(self.context, count, size)
    }

    /// Its `realloc`.
    #[inline(always)]
    pub fn realloc(&self, pointer: *mut c_void, size: usize) -> *mut c_void {
        (self.realloc)(self.context, pointer, size)
    }

    /// Its `free`.
    #[inline(always)]
    pub fn free(&self, pointer: *mut c_void) {
        (self.free)(self.context, pointer);
    }
}

/// `PyMem_GetAllocator` and `PyMem_SetAllocator`.
#[derive(Clone, Copy)]
pub struct AllocatorFunctions {
    /// Reads a domain's allocator.
    pub get: unsafe extern "C" fn(i32, *mut PyMemAllocator),
    /// Replaces a domain's allocator.
    pub set: unsafe extern "C" fn(i32, *const PyMemAllocator),
}

/// What reads a dict without allocating, running code or releasing anything; and what there is in it.
#[derive(Clone, Copy)]
pub struct TaskFunctions {
    /// `PyDict_Next`.
    pub dict_next: unsafe extern "C" fn(*const c_void, *mut isize, *mut *const c_void, *mut *const c_void) -> i32,
    /// `PyImport_GetModuleDict`: fatal before the interpreter has modules and after it has lost them.
    pub modules: unsafe extern "C" fn() -> *const c_void,
    /// `PyModule_GetDict`.
    pub module_dict: unsafe extern "C" fn(*const c_void) -> *const c_void,
    /// `Py_IncRef`.
    pub keep: unsafe extern "C" fn(*const c_void),
    /// `PyModule_Type`.
    pub module_type: *const c_void,
    /// `PyUnicode_Type`.
    pub str_type: *const c_void,
    /// `PyDict_Type`.
    pub dict_type: *const c_void,
    /// `PyCoro_Type`.
    pub coroutine_type: *const c_void,
    /// `PyGen_Type`.
    pub generator_type: *const c_void,
}

fn task_functions() -> Option<TaskFunctions> {
    Some(TaskFunctions {
        dict_next: symbol(c"PyDict_Next")?,
        modules: symbol(c"PyImport_GetModuleDict")?,
        module_dict: symbol(c"PyModule_GetDict")?,
        keep: symbol(c"Py_IncRef")?,
        module_type: symbol(c"PyModule_Type")?,
        str_type: symbol(c"PyUnicode_Type")?,
        dict_type: symbol(c"PyDict_Type")?,
        coroutine_type: symbol(c"PyCoro_Type")?,
        generator_type: symbol(c"PyGen_Type")?,
    })
}

/// Where a thread's running thread state is found.
#[derive(Clone, Copy)]
enum Slot {
    /// At this address, for all threads.
    Global(*const *const c_void),
    /// At this offset from the thread pointer.
    ThreadPointer(isize),
    /// Through `__tls_get_addr` of this module and offset.
    Dynamic(*const c_void),
    /// Nobody knows: the function must be called each time.
    Call,
}

/// What was found in the process.
pub struct Found {
    /// One of `PYTHON_*`.
    pub kind: u32,
    /// `PY_VERSION_HEX`, or 0.
    pub version: u32,
    /// Address of `PyCode_Type`.
    pub code_type: *const c_void,
    /// A build without the GIL.
    pub is_free_threaded: bool,
    /// The running thread state must be asked for by a call.
    pub slot_by_call: bool,
    slot: Slot,
    allocators: Option<AllocatorFunctions>,
    /// What [`crate::task`] needs, where all of it is there.
    pub tasks: Option<TaskFunctions>,
    running_tstate: Option<extern "C" fn() -> *const c_void>,
    own_tstate: Option<extern "C" fn() -> *const c_void>,
    main_interpreter: Option<extern "C" fn() -> *const c_void>,
    is_finalizing: Option<extern "C" fn() -> i32>,
}

impl Found {
    const NOTHING: Self = Self {
        kind: PYTHON_NONE,
        version: 0,
        code_type: null(),
        is_free_threaded: false,
        slot_by_call: false,
        slot: Slot::Call,
        allocators: None,
        tasks: None,
        running_tstate: None,
        own_tstate: None,
        main_interpreter: None,
        is_finalizing: None,
    };

    /// The minor version; 0 if the interpreter is none that is known.
    pub fn minor(&self) -> u32 {
        if self.kind == PYTHON_SUPPORTED { self.version >> 16 & 0xff } else { 0 }
    }

    /// The micro version.
    pub fn micro(&self) -> u32 {
        self.version >> 8 & 0xff
    }

    /// CPython's functions to exchange allocators.
    pub fn allocators(&self) -> Option<AllocatorFunctions> {
        self.allocators
    }

    /// Whether the thread state belongs to the main interpreter, whose GIL guards lane 0.
    pub fn is_main_interpreter(&self, tstate: *const c_void, interp_offset: usize) -> bool {
        // SAFETY: a live thread state; `interp` stands at that offset.
        let interpreter = unsafe { tstate.byte_add(interp_offset).cast::<*const c_void>().read() };
        self.main_interpreter.is_some_and(|main| main() == interpreter)
    }
}

struct Place(UnsafeCell<Found>);

// SAFETY: written once, by `find`, before any thread records.
unsafe impl Sync for Place {}

static FOUND: Place = Place(UnsafeCell::new(Found::NOTHING));
static NO_TSTATE: Null = Null(null());

struct Null(*const c_void);

// SAFETY: a constant.
unsafe impl Sync for Null {}

/// What was found.
#[inline(always)]
pub fn found() -> &'static Found {
    // SAFETY: written once, before.
    unsafe { &*FOUND.0.get() }
}

/// The calling thread's own thread state, whether or not it holds the GIL; null if it has none or the interpreter is going away.
pub fn own_tstate() -> *const c_void {
    if is_finalizing() {
        return null();
    }
    found().own_tstate.map_or(null(), |own_tstate| own_tstate())
}

/// Whether the interpreter is going away.
pub fn is_finalizing() -> bool {
    found().is_finalizing.is_some_and(|is_finalizing| is_finalizing() != 0)
}

/// The thread state that holds the GIL: of this thread (3.12 and newer) or of any.
pub fn running_tstate() -> *const c_void {
    found().running_tstate.map_or(null(), |running_tstate| running_tstate())
}

/// Where the calling thread's running thread state stands.
pub fn tstate_slot(_thread: &Thread) -> *const *const c_void {
    match found().slot {
        Slot::Global(slot) => slot,
        Slot::ThreadPointer(offset) => (thread_pointer().wrapping_add_signed(offset)) as *const _,
        Slot::Dynamic(index) => tls_address(index),
        Slot::Call => &raw const NO_TSTATE.0,
    }
}

fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the word at fs:0 is the thread pointer itself.
    unsafe { core::arch::asm!("mov {0}, qword ptr fs:[0]", out(reg) pointer, options(pure, readonly, nostack)) };
    pointer
}

fn tls_address(index: *const c_void) -> *const *const c_void {
    match symbol::<extern "C" fn(*const c_void) -> *const *const c_void>(c"__tls_get_addr") {
        Some(tls_get_addr) => tls_get_addr(index),
        None => &raw const NO_TSTATE.0,
    }
}

fn symbol_address(name: &CStr) -> *mut c_void {
    // SAFETY: a C string.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// A function (or a pointer) by name. `T` must be pointer-sized and fit the symbol.
fn symbol<T: Copy>(name: &CStr) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<*mut c_void>()) };
    let address = symbol_address(name);
    // SAFETY: same size; the caller names the type that CPython's headers declare for this name.
    (!address.is_null()).then(|| unsafe { core::mem::transmute_copy(&address) })
}

/// Looks for an interpreter in the process.
pub fn find() {
    let found = look();
    // SAFETY: called once, before anything is recorded.
    unsafe { FOUND.0.get().write(found) };
}

fn look() -> Found {
    if !symbol_address(c"rpython_startup_code").is_null() || !symbol_address(c"graal_create_isolate").is_null() {
        return Found { kind: PYTHON_OTHER, ..Found::NOTHING };
    }
    let Some(version_text) = symbol::<extern "C" fn() -> *const c_char>(c"Py_GetVersion") else {
        return Found::NOTHING;
    };
    // SAFETY: Py_GetVersion returns a static string and may be called before the interpreter starts.
    let text = unsafe { CStr::from_ptr(version_text()) }.to_bytes();
    let version = version_hex(text);
    let (kind, is_free_threaded) = match version >> 16 {
        0x0308..=0x030c => (PYTHON_SUPPORTED, false),
        0x030d..=0x030f => check_debug_offsets(version),
        _ => (PYTHON_UNSUPPORTED, false),
    };
    let mut found = Found {
        kind,
        version,
        is_free_threaded,
        code_type: symbol_address(c"PyCode_Type"),
        allocators: symbol(c"PyMem_GetAllocator")
            .zip(symbol(c"PyMem_SetAllocator"))
            .map(|(get, set)| AllocatorFunctions { get, set }),
        tasks: task_functions(),
        running_tstate: symbol(c"PyThreadState_GetUnchecked").or_else(|| symbol(c"_PyThreadState_UncheckedGet")),
        own_tstate: symbol(c"PyGILState_GetThisThreadState"),
        main_interpreter: symbol(c"PyInterpreterState_Main"),
        is_finalizing: symbol(c"Py_IsFinalizing").or_else(|| symbol(c"_Py_IsFinalizing")),
        ..Found::NOTHING
    };
    found.slot = found.running_tstate.map_or(Slot::Call, |function| decode_slot(function as *const u8));
    found.slot_by_call = matches!(found.slot, Slot::Call);
    found
}

/// `sizeof(PyThreadState)` of a 3.13.
pub fn thread_state_bytes() -> usize {
    debug_assert_eq!(found().minor(), 13);
    // SAFETY: a supported 3.13 has the symbol and was found to agree.
    unsafe { debug_offsets::thread_state_bytes(symbol_address(c"_PyRuntime")) }
}

/// `PY_RELEASE_LEVEL` in a version's number. Before it structures change without their offsets' change.
const RELEASE_CANDIDATE: u32 = 0xc0;
/// The same of a release.
const FINAL: u32 = 0xf0;

/// 3.13 and newer say themselves where things stand, and whether they are free-threaded.
fn check_debug_offsets(version: u32) -> (u32, bool) {
    let (runtime, published) = (symbol_address(c"_PyRuntime"), symbol_address(c"Py_Version"));
    if runtime.is_null() || published.is_null() {
        return (PYTHON_UNSUPPORTED, false);
    }
    // SAFETY: `Py_Version` is an unsigned long constant since 3.11; `_PyRuntime` begins with its debug offsets since 3.13.
    let agree = unsafe {
        let hex = published.cast::<u64>().read() as u32;
        let is_final = hex & 0xf0 >= RELEASE_CANDIDATE;
        if hex >> 16 != version >> 16 || !is_final {
            return (PYTHON_UNSUPPORTED, false);
        }
        debug_offsets::compare(runtime, hex)
    };
    match agree {
        DebugOffsets::Agree => (PYTHON_SUPPORTED, false),
        DebugOffsets::AgreeFreeThreaded => (PYTHON_SUPPORTED, true),
        DebugOffsets::Differ => (PYTHON_UNSUPPORTED, false),
        DebugOffsets::DifferFreeThreaded => (PYTHON_FREE_THREADED, true),
    }
}

/// "3.12.1 (main, ...)" or "3.14.0rc1+ ..." as `PY_VERSION_HEX`, a final release's last byte being 0xf0.
fn version_hex(text: &[u8]) -> u32 {
    let mut numbers = [0u32; 3];
    let mut index = 0;
    let (mut level, mut serial) = (FINAL, 0);
    for byte in text {
        match byte {
            b'0'..=b'9' if level != FINAL => serial = serial * 10 + u32::from(byte - b'0'),
            b'0'..=b'9' => numbers[index] = numbers[index] * 10 + u32::from(byte - b'0'),
            b'.' if index < 2 => index += 1,
            b'a' => level = 0xa0,
            b'b' => level = 0xb0,
            b'r' => level = RELEASE_CANDIDATE,
            b'c' if level == RELEASE_CANDIDATE => {}
            _ => break,
        }
    }
    numbers[0] << 24 | numbers[1] << 16 | numbers[2] << 8 | level | serial & 0xf
}

/// Where the function that returns the running thread state reads it, told from its instructions, which are one load in every build;
/// so the hot path can do that load itself instead of a call.
///
/// ```text
///  48 8b 05 rel32  48 8b 80 disp32  c3    _PyRuntime through the GOT (shared, 3.11 and older)
///  48 8b 05 rel32  c3                     _PyRuntime directly (static, 3.11 and older)
///  64 48 8b 04 25 imm32                   thread-local, local-exec (static, 3.12 and newer)
///  48 8b 05 rel32  64 48 8b 00            thread-local, initial-exec
///  66 48 8d 3d rel32  (call)              thread-local, general dynamic (shared, 3.12 and newer)
/// ```
fn decode_slot(function: *const u8) -> Slot {
    // SAFETY: functions are at least 16 bytes apart, and 32 bytes of code or padding can be read.
    let code = unsafe { core::slice::from_raw_parts(function, 32) };
    let mut at = if code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) { 4 } else { 0 };
    if code[at..].starts_with(&[0x48, 0x83, 0xec, 0x08]) {
        at += 4;
    }
    let number = |at: usize| i32::from_le_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]) as isize;
    let relative = |at: usize| function.wrapping_add(at + 4).wrapping_offset(number(at));
    match &code[at..at + 11] {
        [0x64, 0x48, 0x8b, 0x04, 0x25, ..] => Slot::ThreadPointer(number(at + 5)),
        [0x48, 0x8b, 0x05, _, _, _, _, 0x64, 0x48, 0x8b, 0x00] => {
            // SAFETY: the instruction loads a pointer-sized offset from there.
            Slot::ThreadPointer(unsafe { relative(at + 3).cast::<isize>().read() })
        }
        [0x48, 0x8b, 0x05, _, _, _, _, 0x48, 0x8b, 0x80, _] => {
            // SAFETY: the instruction loads a pointer from there.
            let base = unsafe { relative(at + 3).cast::<*const u8>().read() };
            Slot::Global(base.wrapping_offset(number(at + 10)).cast())
        }
        [0x48, 0x8b, 0x05, _, _, _, _, 0xc3, ..] => Slot::Global(relative(at + 3).cast()),
        [0x66, 0x48, 0x8d, 0x3d, ..] => Slot::Dynamic(relative(at + 4).cast()),
        _ => Slot::Call,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version_hex(b"3.12.1 (main, Dec 2023)"), 0x030c_01f0);
        assert_eq!(version_hex(b"3.9.18"), 0x0309_12f0);
        assert_eq!(version_hex(b"3.15.0a2+ (heads)"), 0x030f_00a2);
        assert_eq!(version_hex(b"3.14.0b4"), 0x030e_00b4);
        assert_eq!(version_hex(b"3.15.0rc1 free-threading build (main)"), 0x030f_00c1);
    }
}
