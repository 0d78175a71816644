//! A running CPython from outside: its version, its threads, and the request to run a script (PEP 768, 3.14 and newer).
//!
//! It does what `sys.remote_exec` does, without an interpreter of one's own: it writes a script's path and a flag into the thread
//! states, and a thread runs the script at its next safe point. Unlike there, each thread is asked, since the main one may wait for ever; and
//! the program stands still for the moment, so that no thread ends, and no bit of the evaluation loop changes, while it is written to.
//! Nothing is loaded into the program, and nothing of it is called.
#![forbid(unsafe_code)]

mod error;
mod image;
mod interpreter;
mod process;
mod stop;

pub use error::Error;
pub use interpreter::{Interpreter, Withdrawn};
pub use process::Process;
