//! CPython's layouts by version: line tables so far.
#![no_std]

pub mod line_table;
