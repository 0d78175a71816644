//! A capture to a file.
use crate::Error;
use memlens_format::capture::container::{Compression, file_header, section_header};
use memlens_format::capture::{Capture, Section, encode_section};
use std::io::{self, Write};

/// Zstandard's level. Encoding counts against the recorded run, so that speed comes first: see the figures in
/// `examples/synthetic.rs`.
const LEVEL: i32 = 1;

/// A section may be decompressed to no more than [`FREE_RAW_BYTES`] plus this many times its stored length, so that a small
/// hostile file cannot demand a large allocation. A payload that compresses better than that is stored as it is.
pub(crate) const MAX_RATIO: u64 = 256;

/// See [`MAX_RATIO`].
pub(crate) const FREE_RAW_BYTES: u64 = 1 << 20;

/// What [`write_to`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the file.
    pub bytes: u64,
}

/// Writes a capture to `out`, which should be an empty file that the caller has just created. A section is written in
/// one call, in the order in which a reader needs them: what an interrupted write leaves can be salvaged.
pub fn write_to(out: &mut impl Write, capture: &Capture) -> Result<Written, Error> {
    write_sections(out, capture).map_err(|source| Error::CannotWrite { source })
}

fn write_sections(out: &mut impl Write, capture: &Capture) -> io::Result<Written> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let header = file_header();
    out.write_all(&header)?;
    let mut bytes = header.len() as u64;
    for section in Section::ALL {
        let raw = encode_section(section, capture);
        let compressed = compressor.compress(&raw)?;
        let (compression, stored) = choose(&raw, &compressed);
        let header = section_header(section, compression, raw.len() as u64, stored);
        out.write_all(&[header.as_slice(), stored].concat())?;
        bytes += (header.len() + stored.len()) as u64;
    }
    out.flush()?;
    Ok(Written { bytes })
}

fn choose<'a>(raw: &'a [u8], compressed: &'a [u8]) -> (Compression, &'a [u8]) {
    let limit = FREE_RAW_BYTES + MAX_RATIO * compressed.len() as u64;
    if compressed.len() < raw.len() && raw.len() as u64 <= limit {
        (Compression::Zstd, compressed)
    } else {
        (Compression::None, raw)
    }
}
