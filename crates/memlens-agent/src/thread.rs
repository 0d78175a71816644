//! The state of each thread, in static thread-local storage.
//!
//! `thread_local!` of a shared library goes through `__tls_get_addr`, which costs a call and may allocate; a preloaded
//! library may use the static block (the initial-exec model), which costs one load. Stable Rust has no way to ask for it
//! but a few lines of assembly.
use crate::stack::Stack;
use core::ffi::c_void;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the agent's thread-local storage is written for x86-64 only, so far");

const SIZE: usize = 128;
const _: () = assert!(size_of::<Thread>() <= SIZE && core::mem::offset_of!(Thread, inside) == 0);

core::arch::global_asm!(
    ".section .tbss.memlens_thread,\"awT\",@nobits",
    ".balign 64",
    ".hidden memlens_thread",
    ".globl memlens_thread",
    ".type memlens_thread,@object",
    ".size memlens_thread,{size}",
    "memlens_thread:",
    ".zero {size}",
    ".text",
    size = const SIZE,
);

/// [`Thread::inside`]: the hooks are open.
pub const OUTSIDE: u32 = 0;
/// [`Thread::inside`]: in the real allocator; what it calls in turn is its own business and is counted already.
pub const IN_ALLOCATOR: u32 = 1;
/// [`Thread::inside`]: recording; an event now comes from a signal handler and is lost.
pub const IN_RECORDER: u32 = 2;

/// [`Thread::known_tstate`] of a thread that has none. Not null, which is what the interpreter's slot holds between two.
pub const NO_TSTATE: *const c_void = core::ptr::without_provenance(1);

/// A thread. All zeros is a new one.
#[repr(C)]
pub struct Thread {
    /// Keeps the hooks from seeing their own doing: one of the constants above.
    pub inside: u32,
    /// The [validity](crate::agent) that the rest was last seen to agree with; 0: never.
    pub validity: u32,
    /// In which recording the rest was set up; 0: in none.
    pub generation: u32,
    /// The same as [`validity`](Self::validity) while tasks are told apart, when that one is never right.
    pub validity_between_tasks: u32,
    /// Where the interpreter keeps the running thread state: for this thread (3.12 and newer) or for all.
    pub tstate_slot: *const *const c_void,
    /// The thread state of this thread in the main interpreter, once it was seen to hold the GIL with it; else [`NO_TSTATE`]. Where there is
    /// no GIL: in any interpreter, and [`Thread::writer`] is set.
    pub known_tstate: *const c_void,
    /// The block that this thread allocated last, if nothing was allocated since.
    pub last_allocation: usize,
    /// This thread's own lane, once it allocated without the GIL; where there is none lane 0, if it is the main thread.
    pub writer: *mut crate::agent::Writer,
    /// The stack as it was at the last event.
    pub stack: Stack,
    /// A hash of the running task's name ([`crate::task`]); 0: none.
    pub task: u64,
    /// The node of the place where it [waits](crate::waiting) while others work; the root if it does not.
    pub waiting: u32,
    /// Its destructors have run: what it still does is the C library's tidying, after which nobody will give anything back.
    pub is_ending: bool,
}

/// The calling thread's state, as a hook holds it across the calls of real functions, in which nested hooks may change it: so it
/// is no reference, of which the compiler would believe that it stays what it was.
#[derive(Clone, Copy)]
pub struct Handle(*mut Thread);

impl Handle {
    /// Of the calling thread.
    #[inline(always)]
    pub fn current() -> Self {
        Self(current())
    }

    /// Sets [`Thread::inside`].
    #[inline(always)]
    pub fn set_inside(self, inside: u32) {
        self.state().inside = inside;
    }

    /// The state, to be let go before a real function is called.
    #[inline(always)]
    pub fn state<'a>(self) -> &'a mut Thread {
        // SAFETY: the calling thread's own, which lives as long as it and which nobody else touches; every user lets it go before it calls what may
        // come here again.
        unsafe { &mut *self.0 }
    }
}

/// The calling thread.
///
/// Budget: two loads, each time: after a call that is less than to keep it across. (So it is not declared pure.)
#[inline(always)]
pub fn current() -> *mut Thread {
    let pointer: *mut Thread;
    // SAFETY: reads the thread pointer and the offset of memlens_thread from it, which the loader has filled in before any
    // code of this library runs.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + memlens_thread@GOTTPOFF]",
            "add {0}, qword ptr fs:[0]",
            out(reg) pointer,
            options(readonly, nostack),
        );
    }
    pointer
}

/// Closes the calling thread's hook: [`Thread::inside`] is [`OUTSIDE`] again. For who has kept nothing since it opened.
#[inline(always)]
pub fn close() {
    // SAFETY: `inside` is the first field of memlens_thread, of which each thread has its own.
    unsafe {
        core::arch::asm!(
            "mov {0}, qword ptr [rip + memlens_thread@GOTTPOFF]",
            "mov dword ptr fs:[{0}], {outside}",
            out(reg) _,
            outside = const OUTSIDE,
            options(nostack, preserves_flags),
        );
    }
}

/// The thread's `pthread_self()`.
#[inline(always)]
pub fn pthread_self() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the word at fs:0x10 is the thread control block's own address, which is what pthread_self returns.
    unsafe {
        core::arch::asm!("mov {0}, qword ptr fs:[16]", out(reg) pointer, options(pure, readonly, nostack));
    }
    pointer
}

/// The same pointer, of which the compiler does not know that it equals another: the processor may go on with it before the other is loaded.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through the pointer")]
pub fn as_if_loaded(mut pointer: *const c_void) -> *const c_void {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}
