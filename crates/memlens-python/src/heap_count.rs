//! What the allocators themselves say of the heap: the figure that the objects are to explain.
//!
//! glibc's `mallinfo2` counts blocks in use and what malloc maps for large ones; pymalloc's blocks lie in arenas that it maps itself, and are told
//! by its own report. Both count what they gave out, rounded up to their granules. Allocators that libraries carry
//! (Arrow's, polars') are in neither.
use libc::{c_char, c_int, c_void};
use std::ffi::CStr;

/// Live bytes as malloc and pymalloc count them; nothing where malloc is not glibc's or does not tell.
///
/// The caller holds the GIL: pymalloc's pools must not change.
pub fn live_bytes() -> Option<u64> {
    Some(malloc_bytes()? + pymalloc_bytes().unwrap_or(0))
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// A block of this size shows whether the count is that of the malloc in use: another one may stand before glibc's.
const PROBE: usize = 96 << 10;

/// Since glibc 2.33; the older `mallinfo` has 32 bits.
fn malloc_bytes() -> Option<u64> {
    // SAFETY: the function of this name has this signature (mallinfo(3)).
    let mallinfo2: extern "C" fn() -> Mallinfo2 = unsafe { std::mem::transmute(symbol(c"mallinfo2")?) };
    let count = || {
        let counts = mallinfo2();
        counts.in_use + counts.mapped
    };
    let before = count();
    let probe = std::hint::black_box(Vec::<u8>::with_capacity(PROBE));
    let after = count();
    drop(probe);
    (after >= before + PROBE).then_some(before as u64)
}

/// `struct mallinfo2`: ten words.
#[repr(C)]
struct Mallinfo2 {
    _arenas: usize,
    _free_chunks: [usize; 3],
    /// `hblkhd`: large blocks, which malloc maps each by itself.
    mapped: usize,
    _unused: usize,
    _fast: usize,
    /// `uordblks`.
    in_use: usize,
    _free: [usize; 2],
}

/// The line that says it in what `sys._debugmallocstats()` prints.
const LINE: &str = "# bytes in allocated blocks";

/// `_PyObject_DebugMallocStats`, which every version exports, into memory. Nothing if Python objects come from malloc.
fn pymalloc_bytes() -> Option<u64> {
    type Report = extern "C" fn(*mut libc::FILE) -> c_int;
    // SAFETY: the function has this signature from 3.4 to 3.15 (Objects/obmalloc.c).
    let report: Report = unsafe { std::mem::transmute(symbol(c"_PyObject_DebugMallocStats")?) };
    let text = written(|file| {
        report(file);
    })?;
    let line = text.lines().find(|line| line.starts_with(LINE))?;
    let digits: String = line[LINE.len()..].chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What is written to a C stream.
fn written(write: impl FnOnce(*mut libc::FILE)) -> Option<String> {
    let (mut start, mut length): (*mut c_char, usize) = (std::ptr::null_mut(), 0);
    // SAFETY: both places outlive the stream.
    let file = unsafe { libc::open_memstream(&mut start, &mut length) };
    if file.is_null() {
        return None;
    }
    write(file);
    // SAFETY: the stream is ours, and after its end the memory that it tells of, which is ours to release.
    unsafe {
        libc::fclose(file);
        let bytes = std::slice::from_raw_parts(start.cast::<u8>(), length);
        let text = String::from_utf8_lossy(bytes).into_owned();
        libc::free(start.cast());
        Some(text)
    }
}
