//! The ground floor that the recording and the reading tower share: the layout of the memory between agent and collector
//! ([`shared`]), the allocators by name and number ([`Allocator`]), and the capture's records ([`capture`], feature
//! `capture`). It holds types, constants, encoding and decoding; it touches no file, no process and no clock.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "capture")]
extern crate alloc;

mod allocator;
#[cfg(feature = "capture")]
pub mod capture;
pub mod shared;

pub use allocator::Allocator;
