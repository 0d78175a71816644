//! Captures as files: [`write_to`], [`open`], and what can be saved of a file that is cut short.
//!
//! The layout of the file and of its sections is [`memlens_format::capture`]'s; this crate adds compression, input and
//! output. It writes the current version and reads every version ever released. It never opens a file for writing: the
//! caller does, who knows what may be overwritten.
#![forbid(unsafe_code)]

mod error;
mod read;
mod write;

pub use error::Error;
pub use memlens_format::capture::{Capture, Section};
pub use read::{Damage, Opened, Parts, open, open_parts, read};
pub use write::{Writer, Written, write_to};
