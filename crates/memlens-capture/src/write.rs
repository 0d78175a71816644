//! A capture to a file.
use crate::Error;
use memlens_format::capture::container::{Compression, file_header, section_header};
use memlens_format::capture::{Capture, Section, encode_section};
use std::io::{self, Write};

/// Zstandard's level. Encoding counts against the recorded run, so that speed comes first: see the figures in
/// `examples/synthetic.rs`.
const LEVEL: i32 = 1;

/// A payload that is smaller is stored as it is: to compress all of a small program's takes half a millisecond of a run that took twenty, to
/// write it less than a tenth.
const LEAST_COMPRESSED_BYTES: usize = 64 << 10;

/// A section may be decompressed to no more than [`FREE_RAW_BYTES`] plus this many times its stored length, so that a small
/// hostile file cannot demand a large allocation. A payload that compresses better than that is stored as it is.
pub(crate) const MAX_RATIO: u64 = 256;

/// See [`MAX_RATIO`].
pub(crate) const FREE_RAW_BYTES: u64 = 1 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Length of the file.
    pub bytes: u64,
}

/// The sections that are large, and known before the rest.
const TABLES: [Section; 6] =
    [Section::Strings, Section::Frames, Section::Nodes, Section::Sites, Section::Releases, Section::Slices];

/// Writes a capture to `out`, which should be an empty file that the caller has just created. A section is written in
/// one call, in the order in which a reader needs them: what an interrupted write leaves can be salvaged.
pub fn write_to(out: &mut impl Write, capture: &Capture) -> Result<Written, Error> {
    Writer::default().write_to(out, capture)
}

/// Writes one capture, parts of which it may have made before the whole was known.
#[derive(Default)]
pub struct Writer {
    /// Made when it is needed.
    compressor: Option<zstd::bulk::Compressor<'static>>,
    prepared: Vec<(Section, Vec<u8>)>,
}

impl Writer {
    /// Makes the sections of `capture`'s tables (strings, frames, nodes, sites, releases, slices), which must be those of the capture that
    /// [`Writer::write_to`] is given: they are not made again.
    pub fn prepare_tables(&mut self, capture: &Capture) -> Result<(), Error> {
        let make = |section| Ok((section, self.section(section, capture)?));
        self.prepared = TABLES.into_iter().map(make).collect::<io::Result<_>>().map_err(cannot_write)?;
        Ok(())
    }

    /// As [`write_to`].
    pub fn write_to(mut self, out: &mut impl Write, capture: &Capture) -> Result<Written, Error> {
        self.write_sections(out, capture).map_err(cannot_write)
    }

    fn write_sections(&mut self, out: &mut impl Write, capture: &Capture) -> io::Result<Written> {
        let header = file_header();
        out.write_all(&header)?;
        let mut bytes = header.len() as u64;
        let prepared = std::mem::take(&mut self.prepared);
        for section in Section::ALL {
            let made;
            let whole = match prepared.iter().find(|(name, _)| *name == section) {
                Some((_, whole)) => whole,
                None => {
                    made = self.section(section, capture)?;
                    &made
                }
            };
            out.write_all(whole)?;
            bytes += whole.len() as u64;
        }
        out.flush()?;
        Ok(Written { bytes })
    }

    /// A section as it stands in the file.
    fn section(&mut self, section: Section, capture: &Capture) -> io::Result<Vec<u8>> {
        let raw = encode_section(section, capture);
        let compressed = if raw.len() < LEAST_COMPRESSED_BYTES { None } else { Some(self.compress(&raw)?) };
        let (compression, stored) = choose(&raw, compressed.as_deref());
        Ok([section_header(section, compression, raw.len() as u64, stored).as_slice(), stored].concat())
    }

    fn compress(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        compressor.compress(raw)
    }
}

fn cannot_write(source: io::Error) -> Error {
    Error::CannotWrite { source }
}

fn choose<'a>(raw: &'a [u8], compressed: Option<&'a [u8]>) -> (Compression, &'a [u8]) {
    let limit = |compressed: &[u8]| FREE_RAW_BYTES + MAX_RATIO * compressed.len() as u64;
    let is_better = |compressed: &&[u8]| compressed.len() < raw.len() && raw.len() as u64 <= limit(compressed);
    match compressed.filter(is_better) {
        Some(compressed) => (Compression::Zstd, compressed),
        None => (Compression::None, raw),
    }
}
