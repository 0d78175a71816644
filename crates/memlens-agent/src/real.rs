//! The real functions behind the hooks.
//!
//! They are found with `dlsym(RTLD_NEXT)` when first needed, so that another preloaded allocator stays in effect. `dlsym`
//! itself may allocate: until it is done, a small static arena serves, whose blocks are never given back.
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

const ARENA_BYTES: usize = 64 << 10;

#[repr(align(64))]
struct Arena(core::cell::UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: each byte is handed out once, by an atomic bump.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(core::cell::UnsafeCell::new([0; ARENA_BYTES]));
static ARENA_NEXT: AtomicUsize = AtomicUsize::new(0);
static RESOLVING: AtomicUsize = AtomicUsize::new(0);

/// Whether the block came from the static arena: it must not reach the real `free`.
#[inline(always)]
pub fn is_from_arena(pointer: *const c_void) -> bool {
    (pointer as usize).wrapping_sub(ARENA.0.get() as usize) < ARENA_BYTES
}

/// A zeroed block of the arena; its size stands in the 16 bytes before it.
pub fn arena_allocate(bytes: usize) -> *mut c_void {
    let bytes = bytes.div_ceil(16).saturating_mul(16);
    let at = ARENA_NEXT.fetch_add(bytes.saturating_add(16), Relaxed);
    if at.saturating_add(bytes).saturating_add(16) > ARENA_BYTES {
        return core::ptr::null_mut();
    }
    // SAFETY: the range is within the arena and ours alone.
    unsafe {
        let head = ARENA.0.get().cast::<u8>().add(at);
        head.cast::<usize>().write(bytes);
        head.add(16).cast()
    }
}

/// The size of a block of the arena.
pub fn arena_size(pointer: *const c_void) -> usize {
    // SAFETY: `arena_allocate` wrote it there.
    unsafe { pointer.byte_sub(16).cast::<usize>().read() }
}

/// Whether the real functions are being looked up right now.
#[inline(always)]
pub fn is_resolving() -> bool {
    RESOLVING.load(Relaxed) != 0
}

/// Looks functions up, which may allocate.
pub fn while_resolving<R>(look_up: impl FnOnce() -> R) -> R {
    RESOLVING.fetch_add(1, Relaxed);
    let result = look_up();
    RESOLVING.fetch_sub(1, Relaxed);
    result
}

/// One real function.
pub struct Real {
    name: &'static CStr,
    pointer: AtomicPtr<c_void>,
}

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Self { name, pointer: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Its address; null only where the C library has no such function.
    #[inline(always)]
    pub fn get(&self) -> *mut c_void {
        let pointer = self.pointer.load(Relaxed);
        if pointer.is_null() { self.resolve() } else { pointer }
    }

    #[cold]
    #[inline(never)]
    fn resolve(&self) -> *mut c_void {
        // SAFETY: the name is a C string.
        let pointer = while_resolving(|| unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) });
        self.pointer.store(pointer, Relaxed);
        pointer
    }
}

macro_rules! real_functions {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $result:ty, or $fallback:expr;)*) => {
        #[allow(non_upper_case_globals)]
        mod functions {
            use super::Real;
            $(pub static $name: Real = Real::new(
                // SAFETY: the literal ends with its only NUL.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );)*
        }

        $(
            $(#[$doc])*
            ///
            /// # Safety
            /// As the C function of this name.
            #[inline(always)]
            #[allow(clippy::unused_unit, reason = "free returns nothing")]
            pub unsafe fn $name($($argument: $type),*) -> $result {
                let pointer = functions::$name.get();
                if pointer.is_null() {
                    return $fallback;
                }
                // SAFETY: the dynamic linker's answer to this name has this signature; the caller upholds the rest.
                unsafe {
                    core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(pointer)($($argument),*)
                }
            }
        )*

        /// The address of the function of this name; null if it is none of these.
        pub fn address_of(name: &[u8]) -> *mut c_void {
            let all = [$(&functions::$name),*];
            all.into_iter().find(|real| real.name.to_bytes() == name).map_or(NULL, Real::get)
        }

        /// Looks all of them up.
        pub fn resolve_all() {
            $(functions::$name.get();)*
        }
    };
}

const NULL: *mut c_void = core::ptr::null_mut();

real_functions! {
    /// The real `malloc`.
    malloc(size: usize) -> *mut c_void, or NULL;
    /// The real `calloc`.
    calloc(count: usize, size: usize) -> *mut c_void, or NULL;
    /// The real `realloc`.
    realloc(pointer: *mut c_void, size: usize) -> *mut c_void, or NULL;
    /// The real `reallocarray`.
    reallocarray(pointer: *mut c_void, count: usize, size: usize) -> *mut c_void, or NULL;
    /// The real `free`.
    free(pointer: *mut c_void) -> (), or ();
    /// The real `posix_memalign`.
    posix_memalign(result: *mut *mut c_void, alignment: usize, size: usize) -> c_int, or libc::ENOMEM;
    /// The real `aligned_alloc`.
    aligned_alloc(alignment: usize, size: usize) -> *mut c_void, or NULL;
    /// The real `memalign`.
    memalign(alignment: usize, size: usize) -> *mut c_void, or NULL;
    /// The real `valloc`.
    valloc(size: usize) -> *mut c_void, or NULL;
    /// The real `pvalloc`.
    pvalloc(size: usize) -> *mut c_void, or NULL;
    /// The real `mmap`.
    mmap(address: *mut c_void, length: usize, protection: c_int, flags: c_int, descriptor: c_int, offset: i64) -> *mut c_void, or libc::MAP_FAILED;
    /// The real `madvise`.
    madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int, or -1;
    /// The real `munmap`.
    munmap(address: *mut c_void, length: usize) -> c_int, or -1;
    /// The real `mremap`.
    mremap(address: *mut c_void, old_size: usize, new_size: usize, flags: c_int, new_address: *mut c_void) -> *mut c_void, or libc::MAP_FAILED;
    /// The real `brk`.
    brk(end: *mut c_void) -> c_int, or -1;
    /// The real `sbrk`.
    sbrk(increment: isize) -> *mut c_void, or libc::MAP_FAILED;
}
