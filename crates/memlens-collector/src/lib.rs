//! The collector: from the tables that recorded programs share with it, and from `/proc`, to a capture.
//!
//! ```text
//!  program (agent) ──Hello──► Server ──Welcome + descriptor──► program
//!                               │
//!                            Session: SharedView of its tables, its place in /proc
//!                               │ tick: live, resident          │ scan: counters of every site
//!                               ▼                               ▼
//!                            Timeline                        SliceLog
//!                               └───────────► Assembler ◄───────┘
//!                                                 ▼
//!                                              Capture
//! ```
//!
//! It runs in a process of its own, in one thread (a second only waits for the news of an end, [`end_watch`]), and reads from outside: it survives every way in which the recorded
//! program can die, and nothing that the program writes into the shared memory can make it fail. It prints nothing, reads
//! no environment and starts no process: that is the command's business.
mod aside;
mod assembly;
#[cfg(test)]
mod assembly_tests;
mod code_index;
mod collector;
mod end_watch;
mod ending;
mod error;
#[cfg(test)]
mod fake_tables;
#[cfg(test)]
mod fuzz;
mod interner;
mod mapping;
mod node_table;
mod pace;
mod part;
mod peak;
mod process_info;
mod server;
mod session;
mod shared_view;
mod sharing;
mod shortage;
mod slice_log;
mod text;
mod timeline;

pub use collector::{Collector, Recording, Step};
pub use ending::version_text;
pub use error::Error;
pub use server::Server;
pub use session::{Admission, Newcomer};
