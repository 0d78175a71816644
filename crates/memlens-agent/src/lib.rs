//! The agent: the library that `memlens run` preloads into the recorded program.
//!
//! It does the least: at each allocation and release it finds the running Python stack, and counts. What it counts lies
//! in memory that the collector, another process, sees as well ([`memlens_format::shared`]); so nothing is written, sent
//! or flushed, and what was known survives any way to die.
//!
//! - [`hook_c`], [`hook_mapping`], [`hook_python`]: the entry points, each a few lines around the real function;
//! - [`hook_loader`]: callers that would pass them by; [`imports`]: what a library takes from others; [`waiting`]: for whom native threads work;
//! - [`hook_static`]: the same for allocators that are part of a library; [`library`], [`redirect`], [`instruction`]: how they are got at; [`region`]: what libraries map otherwise;
//! - [`event`]: an allocation or a release, from the moment that its block is known;
//! - [`stack`]: which frames are running, at a cost of what changed since the last event; [`switch`]: when none is; [`task`]: what asyncio runs;
//! - [`agent`]: the one global state; [`thread`]: the state of each thread; [`lock`];
//! - [`python`]: what is known of the interpreter; [`process_memory`]: where memory comes from; [`connect`]: how it all begins.
//!
//! Invariant: nothing here allocates, takes a lock or enters the kernel on the hot path, and nothing here ever calls
//! into the interpreter other than to exchange its allocators, and to read a dict for `--tasks`. When in doubt an event is counted as lost.
//!
//! No standard library: it would bring the unwinder's library into the program, and 0.4 ms to its start (576 relocations, not 133).
#![cfg_attr(not(test), no_std)]

mod agent;
mod connect;
mod end_notice;
mod event;
mod hook_c;
mod hook_loader;
mod hook_mapping;
mod hook_python;
mod hook_static;
mod imports;
mod instruction;
mod library;
mod lines;
mod lock;
mod process_memory;
mod python;
mod real;
mod redirect;
mod region;
mod stack;
mod switch;
mod task;
mod thread;
mod thread_name;
mod waiting;

/// Runs when the library is loaded, unless an allocation came first.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        agent::start();
    }
    constructor
};

/// Runs when the process exits in an orderly way.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = {
    extern "C" fn destructor() {
        agent::exit();
    }
    destructor
};

// The core library's unwinding tables name it where they are not thrown away, as in debug builds. Nothing ever unwinds. Hidden, lest the program
// see it.
#[cfg(not(test))]
core::arch::global_asm!(".hidden rust_eh_personality", ".globl rust_eh_personality", "rust_eh_personality: ud2");

// Without the standard library nobody else asks for it.
#[cfg(not(test))]
#[link(name = "c")]
unsafe extern "C" {}

/// There is no memory to be had here: what could ask for it (the capture's side of memlens-format, which a build of the whole workspace
/// switches on) is never called.
#[cfg(not(test))]
mod no_allocation {
    use core::alloc::{GlobalAlloc, Layout};

    struct Never;

    // SAFETY: a null pointer is the answer of an allocator that has nothing; so there is nothing to give back.
    unsafe impl GlobalAlloc for Never {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static NEVER: Never = Never;
}

/// A defect of the agent's own, in a debug build: overflow is not checked in others, and nothing else panics.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let message = b"memlens: the agent has panicked\n";
    // SAFETY: a static message; the process ends here.
    unsafe {
        libc::write(2, message.as_ptr().cast(), message.len());
        libc::abort()
    }
}
