//! The graph as a file (`.mlheap`): columns in chunks, each with its length and checksum.
//!
//! ```text
//!  0   8  MAGIC
//!  8   4  version                     one of HEAP_VERSIONS
//! 12      chunks, column by column in the order of Column::ALL; the last is one of Column::End
//!
//! a chunk:
//!  0   4  tag                         Column::tag
//!  4   4  sequence                    0, 1, 2, … through the file
//!  8   1  compression                 0 none, 1 one Zstandard frame
//!  9   1  width                       bytes of a value, 0 to 8
//! 10   2  zero
//! 12   4  count                       of values, at most CHUNK_VALUES
//! 16   4  payload length              in bytes, as it stands in the file, without the padding
//! 20   4  CRC-32 (IEEE)              of bytes 0 to 19, payload and padding
//! 24      payload, then zeros until both have count / 32 bytes
//! ```
//! Every integer is little-endian. A decompressed payload holds first the lowest byte of each value, then the next higher
//! byte of each, and so on: equal bytes lie together. A chunk with an unknown tag is skipped. Which values a column
//! holds stands in the `write` module.
//!
//! The padding bounds what a file can demand: it has a byte for each 32 values at least, and none takes more than some 20 bytes
//! of memory, so that all of them take a fixed multiple of the file's own length, whatever its chunks claim.
pub(crate) mod chunk;
pub(crate) mod column;
mod read;
mod write;

pub use read::{load, read};

/// The first eight bytes of every file.
pub const MAGIC: [u8; 8] = *b"MLENSHEP";

/// The version that is written.
pub const HEAP_VERSION: u32 = 1;

/// Every version ever released, each still readable, with what it brought.
pub const HEAP_VERSIONS: &[(u32, &str)] = &[(1, "memlens 0.1: columns in chunks, zstd")];
