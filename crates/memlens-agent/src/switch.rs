//! The moment in which greenlet has swapped the C stack, and the interpreter does not know it yet.
//!
//! greenlet switches by copying the C stack away and another one back to the same addresses, releases that copy by `PyMem_Free`, an event
//! for us, and only then tells the interpreter. In between, whatever the interpreter keeps *on the C stack* is another greenlet's:
//! the shim frames of entries from C (3.12 and newer), and the pointer to the innermost frame (3.11 and 3.12). A walk would follow
//! pointers into anything. So a release whose caller is greenlet's own code belongs to no stack.
//!
//! The caller is known because `PyMem_Free` ends in a jump to the allocator, in every optimized build: the return address is its caller's.
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Callers that were looked up and are not greenlet; by a hash of the address. There are a few in each extension module.
static ORDINARY: [AtomicUsize; CALLERS] = [const { AtomicUsize::new(0) }; CALLERS];
const CALLERS: usize = 1024;
/// Where greenlet's library begins, and its length; no address is in it while that is 0.
static GREENLET: AtomicUsize = AtomicUsize::new(0);
static GREENLET_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Whether the code at `caller` is greenlet's.
///
/// Budget: two loads, two compares.
#[inline(always)]
pub fn is_greenlet(caller: usize) -> bool {
    ordinary(caller).load(Relaxed) != caller && is_greenlet_slow(caller)
}

#[inline(always)]
fn ordinary(caller: usize) -> &'static AtomicUsize {
    &ORDINARY[(caller >> 1 ^ caller >> 11) % CALLERS]
}

#[cold]
#[inline(never)]
fn is_greenlet_slow(caller: usize) -> bool {
    if caller.wrapping_sub(GREENLET.load(Relaxed)) < GREENLET_BYTES.load(Relaxed) {
        return true;
    }
    let mut search = Search { caller, is_greenlet: false };
    // SAFETY: `visit` takes a Search; the loader's lock is held by nobody who waits for us: this thread holds the GIL and no lock of ours.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    if !search.is_greenlet {
        ordinary(caller).store(caller, Relaxed);
    }
    search.is_greenlet
}

struct Search {
    caller: usize,
    is_greenlet: bool,
}

/// Looks at one library; 1 ends the search.
unsafe extern "C" fn visit(library: *mut libc::dl_phdr_info, _size: usize, search: *mut c_void) -> c_int {
    // SAFETY: the loader's description of a library, and the Search of `is_greenlet_slow`.
    let (library, search) = unsafe { (&*library, &mut *search.cast::<Search>()) };
    if library.dlpi_phdr.is_null() || library.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: the loader says how many there are, and names are C strings.
    let (segments, name) = unsafe {
        let segments = core::slice::from_raw_parts(library.dlpi_phdr, usize::from(library.dlpi_phnum));
        (segments, CStr::from_ptr(library.dlpi_name).to_bytes())
    };
    let holds = |segment: &&libc::Elf64_Phdr| {
        let start = library.dlpi_addr as usize + segment.p_vaddr as usize;
        segment.p_type == libc::PT_LOAD && search.caller.wrapping_sub(start) < segment.p_memsz as usize
    };
    let Some(segment) = segments.iter().find(holds) else { return 0 };
    if is_greenlets_name(name) {
        GREENLET.store(library.dlpi_addr as usize + segment.p_vaddr as usize, Relaxed);
        GREENLET_BYTES.store(segment.p_memsz as usize, Relaxed);
        search.is_greenlet = true;
    }
    1
}

/// ".../greenlet/_greenlet.cpython-312-x86_64-linux-gnu.so", before greenlet 1.0 ".../greenlet.cpython-38-x86_64-linux-gnu.so".
fn is_greenlets_name(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    name.starts_with(b"_greenlet.") || name.starts_with(b"greenlet.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_greenlets_name(b"/venv/lib/greenlet/_greenlet.cpython-312-x86_64-linux-gnu.so"));
        assert!(is_greenlets_name(b"greenlet.cpython-38-x86_64-linux-gnu.so"));
        assert!(!is_greenlets_name(b"/venv/lib/gevent/_gevent_cgreenlet.cpython-312-x86_64-linux-gnu.so"));
        assert!(!is_greenlets_name(b""));
    }
}
