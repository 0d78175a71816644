//! CPython's layouts by minor version: thread state → frames → code objects, and line tables.
//!
//! [`layout`] has one type for each minor version, with its offsets as constants, so that the walk of the frames is compiled once
//! for each version with the offsets in the instructions. [`code`] reads what is worth keeping of a code object, [`line_table`] tells the line of an instruction.
//! [`debug_offsets`] holds the offsets against those that an interpreter publishes of itself.
//! Nothing here allocates, calls the interpreter or takes a lock.
#![no_std]

pub mod code;
pub mod debug_offsets;
pub mod layout;
pub mod line_table;
pub mod task;
