//! Allocators that are linked into a library: the jemalloc of polars and of duckdb, the jemalloc and the mimalloc of pyarrow.
//!
//! Nothing leads from outside to their functions, so these are [redirected](crate::redirect) at their entries, by exact names that have known
//! signatures. The library is looked at when the first anonymous `mmap` comes from it, which is when its allocator begins to work.
//! Where there are no symbols, the mappings themselves are counted, as any others.
use crate::agent::enter;
use crate::event::chosen;
use crate::hook_c::{release, resize};
use crate::library::{File, LONGEST_NAME, Library, Table, unloaded};
use crate::python;
use crate::redirect::{Function, MAX_FUNCTIONS, redirect};
use crate::region;
use crate::thread::{IN_ALLOCATOR, OUTSIDE};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use memlens_format::Allocator;

/// Names before `malloc` and the rest, as jemalloc's builds have them.
const JEMALLOC: [&[u8]; 4] = [b"_rjem_", b"je_arrow_", b"duckdb_je_", b"je_"];
/// The same of mimalloc.
const MIMALLOC: [&[u8]; 2] = [b"mi_", b"arrow_mi_"];
/// duckdb's own functions around its jemalloc, whose `malloc` and `free` the compiler has put in line there: the address of a pointer to
/// what they are called with comes first, and is not needed.
const DUCKDB: [&[u8]; 1] = [b"_ZN6duckdb9Allocator"];
/// How the names of functions begin, besides, that ask the kernel for what those allocators hand out.
const INSIDE: [&[u8]; 6] = [b"_mi_", b"os_pages_", b"pages_", b"unix_mmap", b"extent_", b"base_"];

/// `malloc` and all that need a size alone.
macro_rules! allocation {
    ($name:ident, $allocator:expr, ($($argument:ident),+), $size:expr) => {
        pub unsafe extern "C" fn $name(a: usize, b: usize, c: usize, d: usize, e: usize, original: usize) -> *mut c_void {
            let ($($argument,)+ ..) = (a, b, c, d, e);
            // SAFETY: the redirected function's entry, with the arguments that it was called with.
            allocate($allocator, $size, || unsafe { call(original)(a, b, c, d, e) as *mut c_void })
        }
    };
}

/// The original function. It is given all registers that may hold arguments.
///
/// # Safety
/// `original` must be what the stub of a redirected function hands over.
unsafe fn call(original: usize) -> unsafe extern "C" fn(usize, usize, usize, usize, usize) -> usize {
    // SAFETY: the caller's promise; integer arguments lie in the same registers whatever their number and width.
    unsafe { core::mem::transmute(original) }
}

#[inline(always)]
fn allocate(allocator: Allocator, size: usize, call: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let Some(thread) = enter() else { return call() };
    thread.set_inside(IN_ALLOCATOR);
    let block = call();
    (chosen().allocated)(thread.state(), block, size, allocator)
}

macro_rules! hooks {
    ($module:ident, $allocator:expr) => {
        mod $module {
            use super::*;

            allocation!(malloc, $allocator, (size), size);
            allocation!(calloc, $allocator, (count, size), count.wrapping_mul(size));
            allocation!(aligned_alloc, $allocator, (_alignment, size), size);

            /// `realloc`, and what takes the same first two arguments.
            pub unsafe extern "C" fn realloc(
                a: usize,
                b: usize,
                c: usize,
                d: usize,
                e: usize,
                original: usize,
            ) -> *mut c_void {
                let resized = |_| {
                    // SAFETY: as in `allocation`.
                    unsafe { call(original)(a, b, c, d, e) as *mut c_void }
                };
                // SAFETY: the program asks for this block to be resized.
                unsafe { resize(a as *mut c_void, b, $allocator, resized) }
            }

            /// `posix_memalign`.
            pub unsafe extern "C" fn posix_memalign(
                a: usize,
                b: usize,
                c: usize,
                d: usize,
                e: usize,
                original: usize,
            ) -> c_int {
                let Some(thread) = enter() else {
                    // SAFETY: as in `allocation`.
                    return unsafe { call(original)(a, b, c, d, e) as c_int };
                };
                thread.set_inside(IN_ALLOCATOR);
                // SAFETY: as in `allocation`.
                let status = unsafe { call(original)(a, b, c, d, e) as c_int };
                if status == 0 {
                    // SAFETY: a call that succeeded has written the pointer.
                    let block = unsafe { *(a as *const *mut c_void) };
                    (chosen().allocated)(thread.state(), block, c, $allocator);
                }
                thread.set_inside(OUTSIDE);
                status
            }
        }
    };
}

hooks!(jemalloc, Allocator::Jemalloc);
hooks!(mimalloc, Allocator::Mimalloc);

/// `free`, and what takes the same first argument.
unsafe extern "C" fn free(a: usize, b: usize, c: usize, d: usize, e: usize, original: usize) -> usize {
    let released = || {
        // SAFETY: as in `allocation`.
        unsafe { call(original)(a, b, c, d, e) }
    };
    if a == 0 { released() } else { release(a as *mut c_void, released) }
}

/// What releases its second argument.
unsafe extern "C" fn free_second(a: usize, b: usize, c: usize, d: usize, e: usize, original: usize) -> usize {
    let released = || {
        // SAFETY: as in `allocation`.
        unsafe { call(original)(a, b, c, d, e) }
    };
    if b == 0 { released() } else { release(b as *mut c_void, released) }
}

/// What resizes its second argument, whose size is the third, to the fourth.
unsafe extern "C" fn realloc_second(a: usize, b: usize, c: usize, d: usize, e: usize, original: usize) -> *mut c_void {
    let resized = |_| {
        // SAFETY: as in `allocation`.
        unsafe { call(original)(a, b, c, d, e) as *mut c_void }
    };
    // SAFETY: the program asks for this block to be resized.
    unsafe { resize(b as *mut c_void, d, Allocator::Jemalloc, resized) }
}

/// The hook of jemalloc's function of this name.
fn jemalloc_hook(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"malloc" | b"mallocx" | b"valloc" => jemalloc::malloc as *const () as usize,
        b"calloc" => jemalloc::calloc as *const () as usize,
        b"realloc" | b"rallocx" => jemalloc::realloc as *const () as usize,
        b"aligned_alloc" | b"memalign" => jemalloc::aligned_alloc as *const () as usize,
        b"posix_memalign" => jemalloc::posix_memalign as *const () as usize,
        b"free" | b"dallocx" | b"sdallocx" => free as *const () as usize,
        _ => return None,
    })
}

/// The hook of duckdb's function of this name.
fn duckdb_hook(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"15DefaultAllocateEPNS_20PrivateAllocatorDataEm" => jemalloc::aligned_alloc as *const () as usize,
        b"11DefaultFreeEPNS_20PrivateAllocatorDataEPhm" => free_second as *const () as usize,
        b"17DefaultReallocateEPNS_20PrivateAllocatorDataEPhmm" => realloc_second as *const () as usize,
        _ => return None,
    })
}

/// The hook of mimalloc's function of this name.
fn mimalloc_hook(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"malloc" | b"zalloc" | b"malloc_small" | b"zalloc_small" | b"malloc_aligned" | b"zalloc_aligned"
        | b"valloc" => mimalloc::malloc as *const () as usize,
        b"calloc" | b"mallocn" | b"calloc_aligned" => mimalloc::calloc as *const () as usize,
        b"realloc" | b"rezalloc" | b"realloc_aligned" | b"rezalloc_aligned" => mimalloc::realloc as *const () as usize,
        b"aligned_alloc" | b"memalign" => mimalloc::aligned_alloc as *const () as usize,
        b"posix_memalign" => mimalloc::posix_memalign as *const () as usize,
        b"free" | b"free_size" | b"free_aligned" | b"free_size_aligned" => free as *const () as usize,
        _ => return None,
    })
}

/// Shows the wanted names with which a string ends: how long each is, and its hook. The string may be longer: linkers let names share their ends.
fn each_wanted(string: &[u8], mut visit: impl FnMut(usize, usize)) {
    // Most strings are the names of C++ and Rust, and end otherwise than malloc, mallocx, free, memalign, aligned, small, and what duckdb_hook has.
    if !matches!(string.last(), Some(b'c' | b'x' | b'e' | b'n' | b'd' | b'l' | b'm')) {
        return;
    }
    let string = string.get(string.len().saturating_sub(LONGEST_NAME)..).unwrap_or(string);
    let mut look_for = |prefixes: &[&[u8]], hook: fn(&[u8]) -> Option<usize>| {
        for prefix in prefixes {
            let Some(at) = string.windows(prefix.len()).rposition(|part| part == *prefix) else { continue };
            if let Some(hook) = string.get(at + prefix.len()..).and_then(hook) {
                visit(string.len() - at, hook);
            }
        }
    };
    look_for(&JEMALLOC, jemalloc_hook);
    look_for(&MIMALLOC, mimalloc_hook);
    look_for(&DUCKDB, duckdb_hook);
}

/// Callers of `mmap` that were looked up: the address and, in the lowest byte, which of [`LIBRARIES`] it belongs to, counted
/// from 1, or 0; with [`IS_ALLOCATOR`] if it is part of an allocator that is redirected.
static CALLERS: [AtomicUsize; MAX_CALLERS] = [const { AtomicUsize::new(0) }; MAX_CALLERS];
const MAX_CALLERS: usize = 256;
const IS_ALLOCATOR: usize = 0x80;
/// Where the libraries begin that were looked at and, in the lowest byte, whether they were redirected.
static LIBRARIES: [AtomicUsize; MAX_LIBRARIES] = [const { AtomicUsize::new(0) }; MAX_LIBRARIES];
const MAX_LIBRARIES: usize = IS_ALLOCATOR - 1;
/// Their numbers as owners of [regions](crate::region), plus 1; 0 of those that were not asked for it.
static REGIONS: [AtomicU8; MAX_LIBRARIES] = [const { AtomicU8::new(0) }; MAX_LIBRARIES];
/// The sites from which their allocators mapped first.
static BEGINNINGS: [AtomicU32; MAX_LIBRARIES] = [const { AtomicU32::new(0) }; MAX_LIBRARIES];
/// [`unloaded`] when all that was entered.
static UNLOADED: AtomicU64 = AtomicU64::new(0);
/// One thread at a time looks at libraries.
static IS_LOOKING: AtomicBool = AtomicBool::new(false);

/// The sites of one recording mean nothing in another: no site, so that none of these begins there.
const BEGUN_ELSEWHERE: u32 = u32::MAX;

/// A forked child: whoever was looking at a library stayed in the parent, and its recording has regions and sites of its own.
pub fn begin_in_child() {
    IS_LOOKING.store(false, Relaxed);
    REGIONS.iter().for_each(|place| place.store(0, Relaxed));
    BEGINNINGS.iter().filter(|place| place.load(Relaxed) != 0).for_each(|place| place.store(BEGUN_ELSEWHERE, Relaxed));
}

/// Who calls `mmap`.
#[derive(Clone, Copy)]
pub struct Caller {
    address: usize,
    /// Index into [`LIBRARIES`].
    library: usize,
    is_allocator: bool,
}

impl Caller {
    /// Whether it is a redirected allocator, and a mapping from this site is how that begins: the first, and what the same line asks for. Any other
    /// was asked for by a call that did not pass the hooks, for the compiler had it in line, and must be counted.
    pub fn begins_at(self, site: u32) -> bool {
        let Some(beginning) = BEGINNINGS.get(self.library).filter(|_| self.is_allocator) else { return false };
        beginning.compare_exchange(0, site, Relaxed, Relaxed).map_or_else(|first| first == site, |_| true)
    }

    /// The number of its library as an owner of regions, or [`region::NONE`].
    pub fn region(self) -> u8 {
        let Some(place) = REGIONS.get(self.library) else { return region::NONE };
        if place.load(Relaxed) == 0 {
            let of_library =
                |library: &Library| if is_interpreter(library) { region::NONE } else { region::number_of(library) };
            let number = Library::holding(self.address).as_ref().map_or(region::NONE, of_library);
            place.store(number + 1, Relaxed);
        }
        place.load(Relaxed).saturating_sub(1)
    }
}

/// The library code that calls `mmap`, by the address to which that will return; `None` if it is in none. Redirects the functions
/// of the library, if it has such, when that is seen first.
///
/// Costs a dozen loads and what `dl_iterate_phdr` costs for one library; beside a system call.
pub fn caller_of_mmap(address: usize) -> Option<Caller> {
    let count = unloaded();
    if UNLOADED.swap(count, Relaxed) != count {
        CALLERS.iter().chain(&LIBRARIES).for_each(|place| place.store(0, Relaxed));
        BEGINNINGS.iter().for_each(|place| place.store(0, Relaxed));
        REGIONS.iter().for_each(|place| place.store(0, Relaxed));
    }
    let number = known(&CALLERS, address).map_or_else(|| look_up(address), |(_, number)| number);
    let library = (number & !IS_ALLOCATOR).checked_sub(1)?;
    Some(Caller { address, library, is_allocator: number & IS_ALLOCATOR != 0 })
}

/// Where in the table an address is, and what the table says of it.
fn known(table: &[AtomicUsize], address: usize) -> Option<(usize, usize)> {
    let values = table.iter().map(|place| place.load(Relaxed)).take_while(|&value| value != 0);
    values.enumerate().find(|(_, value)| value >> 8 == address).map(|(at, value)| (at, value & 0xff))
}

/// Enters an address. Where there is no room it is looked up each time.
fn enter_known(table: &[AtomicUsize], address: usize, answer: usize) {
    if let Some(place) = table.iter().find(|place| place.load(Relaxed) == 0) {
        place.store(address << 8 | answer, Relaxed);
    }
}

#[cold]
#[inline(never)]
fn look_up(caller: usize) -> usize {
    if IS_LOOKING.swap(true, Acquire) {
        return 0;
    }
    // SAFETY: errno is the thread's own.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    let number = Library::holding(caller).and_then(|library| number_of(&library, caller)).unwrap_or(0);
    enter_known(&CALLERS, caller, number);
    *errno = saved;
    IS_LOOKING.store(false, Release);
    number
}

/// What [`CALLERS`] is to say of a caller. Looks at the library if that was not done before.
fn number_of(library: &Library, caller: usize) -> Option<usize> {
    let entry = known(&LIBRARIES, library.base);
    let may_have_allocator = !matches!(entry, Some((_, 0))) && !is_interpreter(library);
    let mut file = if may_have_allocator { library.open() } else { None };
    let table = file.as_ref().and_then(File::symbols);
    let mut symbols = file.as_mut().zip(table);
    if entry.is_none() {
        let is_redirected = symbols.as_mut().is_some_and(|(file, table)| redirect_all(library, file, *table));
        enter_known(&LIBRARIES, library.base, usize::from(is_redirected));
    }
    let (at, is_redirected) = known(&LIBRARIES, library.base)?;
    let is_inside = |(file, table): (&mut File, Table)| is_allocators_name(&file.name_of(table, caller - library.base));
    let is_allocator = is_redirected == 1 && symbols.is_some_and(is_inside);
    Some((at + 1) | if is_allocator { IS_ALLOCATOR } else { 0 })
}

/// The interpreter has a mimalloc of its own (3.13 and newer), which its memory domains lead to.
fn is_interpreter(library: &Library) -> bool {
    python::found().allocators().is_some_and(|functions| library.holds(functions.get as *const () as usize, 1))
}

fn is_allocators_name(name: &[u8]) -> bool {
    JEMALLOC.iter().chain(&MIMALLOC).chain(&INSIDE).any(|prefix| name.starts_with(prefix))
}

/// Redirects what the library has of the wanted functions.
fn redirect_all(library: &Library, file: &mut File, table: Table) -> bool {
    let mut names = Few::<(u32, usize)>::new((0, 0));
    file.each_string(table, |string, end| {
        each_wanted(string, |length, hook| names.push(((end - length as u64) as u32, hook)));
    });
    let mut functions = Few::new(Function::NONE);
    if names.length > 0 {
        file.each_function(table, |symbol| {
            if let Some(&(_, hook)) = names.get().iter().find(|(name, _)| *name == symbol.name) {
                let function = Function { entry: library.base + symbol.address, size: symbol.size, hook };
                if functions.get().iter().all(|known| known.entry != function.entry) {
                    functions.push(function);
                }
            }
        });
    }
    let functions = functions.get();
    let is_there = |function: &Function| library.holds(function.entry, function.size);
    // SAFETY: the library's own symbols, within its text, which is what its file says; the hooks were chosen by their names.
    functions.iter().all(is_there) && unsafe { redirect(functions, |entry, bytes| library.agrees(file, entry, bytes)) }
}

/// A few values.
struct Few<T> {
    values: [T; MAX_FUNCTIONS],
    length: usize,
}

impl<T: Copy> Few<T> {
    fn new(nothing: T) -> Self {
        Self { values: [nothing; MAX_FUNCTIONS], length: 0 }
    }

    fn push(&mut self, value: T) {
        if let Some(place) = self.values.get_mut(self.length) {
            *place = value;
            self.length += 1;
        }
    }

    fn get(&self) -> &[T] {
        self.values.get(..self.length).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn found(string: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        each_wanted(string, |length, _| found.push(&string[string.len() - length..]));
        found
    }

    #[test]
    fn names() {
        assert_eq!(found(b"_rjem_sdallocx"), [b"_rjem_sdallocx"]);
        assert_eq!(found(b"duckdb_je_malloc"), [&b"duckdb_je_malloc"[..], b"je_malloc"]);
        assert_eq!(found(b"arrow_mi_free"), [&b"mi_free"[..], b"arrow_mi_free"]);
        assert!(found(b"je_arrow_private_je_malloc_default").is_empty());
        assert!(found(b"malloc").is_empty());
        assert!(found(b"").is_empty());
    }
}
