//! How memlens' own allocator deals with the kernel.

/// Blocks below this size come from the heap, and their pages are used again. By glibc's own rule those from 128 KiB on are mappings at first, whose
/// pages the kernel clears each time: a fault each, some 2 µs, on the clock while a program's end is awaited.
const LEAST_MAPPED_BYTES: i32 = 1 << 20;
/// The heap grows by so much at a time.
const STEP_BYTES: i32 = 256 << 10;
/// What is free at the heap's end is given back from this size on, in glibc's own proportion to the first.
const LEAST_RETURNED_BYTES: i32 = 2 * LEAST_MAPPED_BYTES;

/// What the end of a small recording takes; less than [`LEAST_MAPPED_BYTES`], so that it stays in the heap.
const READY_BYTES: usize = 640 << 10;

/// Sets them.
pub fn set_up() {
    let settings = [
        (libc::M_MMAP_THRESHOLD, LEAST_MAPPED_BYTES),
        (libc::M_TOP_PAD, STEP_BYTES),
        (libc::M_TRIM_THRESHOLD, LEAST_RETURNED_BYTES),
        // The second thread has next to nothing to allocate.
        (libc::M_ARENA_MAX, 1),
    ];
    for (setting, bytes) in settings {
        // SAFETY: numbers that the function knows; what is allocated already stays as it is.
        unsafe { libc::mallopt(setting, bytes) };
    }
}

/// Has the kernel make the pages that the end of a small recording takes, 235 of them, while there is time: until the program is loaded memlens
/// has nothing to do, and at its end each would cost what a fault costs.
pub fn make_ready() {
    let mut pages: Vec<u8> = Vec::new();
    if pages.try_reserve_exact(READY_BYTES).is_ok() {
        pages.resize(READY_BYTES, 1);
    }
    drop(std::hint::black_box(pages));
}
