//! The hot core of the recorder: which site an event belongs to, what is live, what was the peak.
//!
//! It works over memory that it is given through [`Memory`] and cannot allocate by construction: the crate is `no_std`
//! without `alloc`. It knows nothing of Python, of hooks or of threads: the agent hands it stacks as keys and decides
//! who may write which lane.
//!
//! - [`live_table`]: address → (site, size), by shadow memory;
//! - [`lane`]: counters with one writer at a time, and the exact peak;
//! - [`key_table`]: the fast way from (parent node, instruction) to a node or a site;
//! - [`recent`]: a faster way for the sites that were used last;
//! - [`intern`]: the slow way, which makes new nodes, sites and code records in the shared file;
//! - [`mappings`]: the ranges that `mmap` handed out.
#![no_std]

pub mod intern;
pub mod key_table;
pub mod lane;
pub mod live_table;
pub mod mappings;
pub mod memory;
pub mod recent;

pub use memory::Memory;
