//! Renderings of an object graph: tables for the terminal, JSON, a page to look at, and Chrome's heap snapshot.
mod describe;
pub mod heapsnapshot;
pub mod json;
pub mod page;
pub mod terminal;

pub use describe::Described;
