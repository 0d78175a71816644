//! The slow truth beside the fast answer, at every event (feature `check-stacks`, for tests).
use super::*;

/// [`holds`] for what [`usual_place`] has trusted.
///
/// # Safety
/// As [`site`].
pub unsafe fn usual_holds<V: Layout>(stack: &Stack, writer: &mut Writer) {
    // SAFETY: the caller's promise.
    unsafe { holds::<V>(stack.base, writer, stack.top, stack.top_parent) };
}

const MAX_DEPTH: usize = 1 << 16;

static CHECKED: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Walks the whole chain from the innermost frame, looking at nothing that was kept, and aborts the process if its caller's node is
/// not `parent`.
///
/// # Safety
/// As [`site`].
pub unsafe fn holds<V: Layout>(base: u32, writer: &mut Writer, top: *const c_void, parent: u32) {
    let mut frames = [null(); 256];
    let (mut frame, mut depth) = (top, 0);
    while !frame.is_null() && depth < MAX_DEPTH {
        // Of a very deep stack only the outermost frames are held against the kept ones.
        frames[depth % 256] = frame;
        depth += 1;
        // SAFETY: a frame of the calling thread's chain.
        frame = unsafe { V::previous(frame) };
    }
    if depth > 256 {
        return;
    }
    let mut node = base;
    for frame in frames[1..depth].iter().rev() {
        // SAFETY: as above.
        let key = unsafe { V::instruction_key(*frame) };
        match node_at::<V>(writer, node, *frame, key) {
            Some(next) => node = next,
            None => return,
        }
    }
    CHECKED.fetch_add(1, Relaxed);
    if node != parent {
        let message = b"memlens: check-stacks: the kept stack is not the running one\n";
        // SAFETY: a static message; the process ends here.
        unsafe {
            libc::write(2, message.as_ptr().cast(), message.len());
            libc::abort();
        }
    }
}
