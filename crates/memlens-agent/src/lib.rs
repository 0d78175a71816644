//! The agent: the library that `memlens run` preloads into the recorded program.
//!
//! It does the least: at each allocation and release it finds the running Python stack, and counts. What it counts lies
//! in memory that the collector, another process, sees as well ([`memlens_format::shared`]); so nothing is written, sent
//! or flushed, and what was known survives any way to die.
//!
//! - [`hook_c`], [`hook_mapping`], [`hook_python`]: the entry points, each a few lines around the real function;
//! - [`event`]: an allocation or a release, from the moment that its block is known;
//! - [`stack`]: which frames are running, at a cost of what changed since the last event; [`switch`]: when none is;
//! - [`agent`]: the one global state; [`thread`]: the state of each thread; [`lock`];
//! - [`python`]: what is known of the interpreter; [`process_memory`]: where memory comes from; [`connect`]: how it all begins.
//!
//! Invariant: nothing here allocates, takes a lock or enters the kernel on the hot path, and nothing here ever calls
//! into the interpreter other than to exchange its allocators. When in doubt the agent turns itself off.
mod agent;
mod connect;
mod event;
mod hook_c;
mod hook_mapping;
mod hook_python;
mod lock;
mod process_memory;
mod python;
mod real;
mod stack;
mod switch;
mod thread;

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
        agent::say_if_collector_died();
    }
    destructor
};
