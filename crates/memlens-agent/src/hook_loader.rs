//! Callers that would pass the hooks by: who asks one library for its `malloc` by name, and libraries that are bound to the C library first.
//!
//! `dlsym` on a library's own handle finds the C library's function, not the hook that stands before it; `dlopen` with `RTLD_DEEPBIND` fills a
//! library's table of functions with them. Both are hooked here, and extension modules are shown to [`crate::waiting`]. Whatever is none of this business goes to the real function by a jump, with the
//! stack as it was: the loader looks at who called (`RTLD_NEXT`, a library's own search path).
use crate::imports::{Dynamic, OwnMemory, imports, needed};
use crate::{agent, hook_c, hook_mapping, real, waiting};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use libc::RTLD_NEXT;

/// `dlfcn.h`.
const RTLD_DEEPBIND: c_int = 8;

/// The real functions, jumped to from assembly.
static REAL_DLSYM: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static REAL_DLOPEN: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// A register for the answer, and one that says whether there is any.
#[repr(C)]
struct Answer {
    pointer: *mut c_void,
    is_given: usize,
}

impl Answer {
    const NONE: Self = Self { pointer: null_mut(), is_given: 0 };

    fn of(pointer: *mut c_void) -> Self {
        Self { pointer, is_given: 1 }
    }
}

/// A hook of two arguments: asks `$answer`, which is told as well to what address the call will return, and jumps to the real function if that has none.
macro_rules! ask_first {
    ($(#[$doc:meta])* $name:ident($first:ty, $second:ty), $answer:ident, $real:ident) => {
        $(#[$doc])*
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(first: $first, second: $second) -> *mut c_void {
            core::arch::naked_asm!(
                "push rdi",
                "push rsi",
                "sub rsp, 8",
                "mov rdx, qword ptr [rsp + 24]",
                "call {answer}",
                "add rsp, 8",
                "pop rsi",
                "pop rdi",
                "test rdx, rdx",
                "jnz 2f",
                "jmp qword ptr [rip + {real}]",
                "2: ret",
                answer = sym $answer,
                real = sym $real,
            )
        }
    };
}

ask_first!(
    /// `dlsym(3)`.
    dlsym(*mut c_void, *const c_char), look_up, REAL_DLSYM
);
ask_first!(
    /// `dlopen(3)`.
    dlopen(*const c_char, c_int), open, REAL_DLOPEN
);

/// Looks both up, while the process starts: to do it later, beside other threads, would have what those allocate meanwhile come from the arena.
pub fn resolve_all() {
    loader_function(&REAL_DLSYM, c"dlsym");
    loader_function(&REAL_DLOPEN, c"dlopen");
}

/// The loader's function of this name; the first time it is looked for.
fn loader_function(place: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = place.load(Relaxed);
    if !known.is_null() {
        return known;
    }
    real::while_resolving(|| {
        // By version, which is not hooked: since 2.34 they are in the C library itself.
        let versions = [c"GLIBC_2.34", c"GLIBC_2.2.5"];
        // SAFETY: C strings.
        let found = versions.map(|version| unsafe { libc::dlvsym(RTLD_NEXT, name.as_ptr(), version.as_ptr()) });
        let found = found.into_iter().find(|pointer| !pointer.is_null()).unwrap_or_default();
        place.store(found, Relaxed);
        found
    })
}

fn real_dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    let function = loader_function(&REAL_DLSYM, c"dlsym");
    // SAFETY: dlsym has this signature.
    unsafe {
        core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void>(function)(
            handle, name,
        )
    }
}

fn real_dlopen(file: *const c_char, mode: c_int) -> *mut c_void {
    let function = loader_function(&REAL_DLOPEN, c"dlopen");
    // SAFETY: dlopen has this signature.
    unsafe {
        core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void>(function)(
            file, mode,
        )
    }
}

/// The hook that stands before a function of this name.
fn hook_named(name: &[u8]) -> Option<*mut c_void> {
    let hook = match name {
        b"malloc" => hook_c::malloc as *const c_void,
        b"calloc" => hook_c::calloc as *const c_void,
        b"realloc" => hook_c::realloc as *const c_void,
        b"reallocarray" => hook_c::reallocarray as *const c_void,
        b"free" => hook_c::free as *const c_void,
        b"posix_memalign" => hook_c::posix_memalign as *const c_void,
        b"aligned_alloc" => hook_c::aligned_alloc as *const c_void,
        b"memalign" => hook_c::memalign as *const c_void,
        b"valloc" => hook_c::valloc as *const c_void,
        b"pvalloc" => hook_c::pvalloc as *const c_void,
        b"mmap" | b"mmap64" => hook_mapping::mmap as *const c_void,
        b"munmap" => hook_mapping::munmap as *const c_void,
        b"mremap" => hook_mapping::mremap as *const c_void,
        b"madvise" => hook_mapping::madvise as *const c_void,
        b"brk" => hook_mapping::brk as *const c_void,
        b"sbrk" => hook_mapping::sbrk as *const c_void,
        _ => return None,
    };
    Some(hook.cast_mut())
}

/// The hook for what was found under this name, if that is the function that the hook calls. (Another allocator's `malloc` stays what it is.)
fn hook_of(name: &CStr, found: *mut c_void) -> Option<*mut c_void> {
    let name = name.to_bytes();
    let is_ours = !found.is_null() && real::address_of(if name == b"mmap64" { b"mmap" } else { name }) == found;
    hook_named(name).filter(|_| is_ours)
}

/// `dlsym` of a hooked function on a library of its own.
extern "C" fn look_up(handle: *mut c_void, name: *const c_char, _caller: usize) -> Answer {
    loader_function(&REAL_DLSYM, c"dlsym");
    let is_general = handle == libc::RTLD_DEFAULT || handle == RTLD_NEXT || name.is_null();
    if is_general || !agent::is_at_work() {
        return Answer::NONE;
    }
    // SAFETY: the caller's C string.
    let name = unsafe { CStr::from_ptr(name) };
    if hook_named(name.to_bytes()).is_none() {
        return Answer::NONE;
    }
    hook_of(name, real_dlsym(handle, name.as_ptr())).map_or(Answer::NONE, Answer::of)
}

/// `dlopen` of a file that is to be bound to its own libraries first, or that the interpreter imports. What is looked for beside the calling
/// library (a name without a path, `$ORIGIN`) is left to the real function, unseen.
extern "C" fn open(file: *const c_char, mode: c_int, caller: usize) -> Answer {
    loader_function(&REAL_DLOPEN, c"dlopen");
    if file.is_null() || !agent::is_at_work() {
        return Answer::NONE;
    }
    // SAFETY: the caller's C string.
    let path = unsafe { CStr::from_ptr(file) }.to_bytes();
    let is_bound_first = mode & RTLD_DEEPBIND != 0;
    let is_left_alone = !path.contains(&b'/') || path.contains(&b'$');
    if is_left_alone || !(is_bound_first || waiting::is_import(caller)) {
        return Answer::NONE;
    }
    let handle = real_dlopen(file, mode);
    if !handle.is_null() {
        if is_bound_first {
            bind_with_dependencies(handle);
        }
        waiting::watch_new_libraries();
    }
    Answer::of(handle)
}

/// `link.h`: a library that is loaded. (glibc's handles point to it.)
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: Dynamic,
}

/// More libraries than any depends on.
const MAX_LIBRARIES: usize = 128;

/// Puts hooks where the loader has put the functions behind them, in this library and in all that it needs.
///
/// Each is held by a handle of its own meanwhile: another thread may close whatever else there is.
fn bind_with_dependencies(handle: *mut c_void) {
    let Some(memory) = OwnMemory::open() else { return };
    let mut handles = [null_mut(); MAX_LIBRARIES];
    handles[0] = handle;
    let (mut done, mut count) = (0, 1);
    while done < count {
        // SAFETY: a handle is a pointer to the library's description, which stays as long as it is not closed.
        let library = unsafe { &*handles[done].cast::<LinkMap>() };
        bind(library, &memory);
        done += 1;
        // SAFETY: the library is held by its handle.
        for needed in unsafe { needed(library.base, library.dynamic) } {
            let loaded = real_dlopen(needed, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if loaded.is_null() {
                continue;
            }
            if count < MAX_LIBRARIES && !handles[..count].contains(&loaded) {
                handles[count] = loaded;
                count += 1;
            } else {
                // SAFETY: a handle that was just got.
                unsafe { libc::dlclose(loaded) };
            }
        }
    }
    for handle in &handles[1..count] {
        // SAFETY: got above, and closed once.
        unsafe { libc::dlclose(*handle) };
    }
}

fn bind(library: &LinkMap, memory: &OwnMemory) {
    // SAFETY: the library is held by a handle.
    unsafe { imports(library.base, library.dynamic, |name, slot| bind_one(name, slot, library, memory)) };
}

fn bind_one(name: &CStr, slot: *const *mut c_void, library: &LinkMap, memory: &OwnMemory) {
    if hook_named(name.to_bytes()).is_none() {
        return;
    }
    // SAFETY: the place that the relocation names.
    let there = unsafe { slot.read() };
    // One that is bound when it is first called leads back into the library as yet: what it would be is asked for.
    let is_bound = hook_of(name, there).is_some();
    let found = if is_bound { there } else { real_dlsym((&raw const *library).cast_mut().cast(), name.as_ptr()) };
    let is_late = !is_bound && Some(there) != hook_named(name.to_bytes());
    if let Some(hook) = hook_of(name, found).filter(|_| is_bound || is_late) {
        memory.write(slot, hook);
    }
}
