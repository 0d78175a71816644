//! The `memlens` command.

fn main() {}
