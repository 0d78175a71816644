//! A chunk of a column: values to bytes and back.
use super::column::Column;
use std::io::{self, Read, Write};

/// Most values of a chunk: a megabyte at the greatest width.
pub(crate) const CHUNK_VALUES: usize = 1 << 17;

/// Length of a chunk's header.
pub(crate) const HEADER_BYTES: usize = 24;

/// Zstandard's level. Level 3 made the file of ten million objects 9 % smaller and saving it half as long again.
const LEVEL: i32 = 1;

/// Writes chunks.
pub(crate) struct ChunkWriter<'w> {
    out: &'w mut dyn Write,
    compressor: zstd::bulk::Compressor<'static>,
    sequence: u32,
    raw: Vec<u8>,
}

impl<'w> ChunkWriter<'w> {
    pub(crate) fn new(out: &'w mut dyn Write) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { out, compressor, sequence: 0, raw: Vec::new() })
    }

    /// Writes a column, with no more than one chunk of it in memory.
    pub(crate) fn column(&mut self, column: Column, values: impl IntoIterator<Item = u64>) -> io::Result<()> {
        let mut values = values.into_iter();
        let mut chunk = Vec::with_capacity(CHUNK_VALUES.min(values.size_hint().0));
        loop {
            chunk.clear();
            chunk.extend(values.by_ref().take(CHUNK_VALUES));
            if chunk.is_empty() {
                return Ok(());
            }
            self.chunk(column, &chunk)?;
        }
    }

    /// Writes one chunk, which may be empty.
    pub(crate) fn chunk(&mut self, column: Column, values: &[u64]) -> io::Result<()> {
        let width = split(values, &mut self.raw);
        let compressed = self.compressor.compress(&self.raw)?;
        let is_smaller = compressed.len() < self.raw.len();
        let payload = if is_smaller { &compressed } else { &self.raw };
        let padding = vec![0; padding_bytes(values.len(), payload.len())];
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&column.tag());
        header[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        header[8] = u8::from(is_smaller);
        header[9] = width;
        header[12..16].copy_from_slice(&(values.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let checksum = checksum(&[&header[..20], payload, &padding]);
        header[20..].copy_from_slice(&checksum.to_le_bytes());
        self.sequence += 1;
        [&header, payload.as_slice(), &padding].into_iter().try_for_each(|part| self.out.write_all(part))
    }
}

/// Zeros behind a payload, so that a chunk of `count` values takes `count / 32` bytes.
fn padding_bytes(count: usize, payload: usize) -> usize {
    (count / 32).saturating_sub(payload)
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Puts the bytes of the values into `raw`, the lowest first, and gives the width that they need.
fn split(values: &[u64], raw: &mut Vec<u8>) -> u8 {
    let all = values.iter().fold(0, |all, value| all | value);
    let width = (u64::BITS - all.leading_zeros()).div_ceil(8);
    raw.clear();
    for place in 0..width {
        raw.extend(values.iter().map(|value| (value >> (8 * place)) as u8));
    }
    width as u8
}

/// The opposite of [`split`].
fn join(raw: &[u8], count: usize, values: &mut Vec<u64>) {
    values.clear();
    values.resize(count, 0);
    for (place, plane) in raw.chunks_exact(count.max(1)).enumerate() {
        for (value, byte) in values.iter_mut().zip(plane) {
            *value |= u64::from(*byte) << (8 * place);
        }
    }
}

/// What a chunk's header says.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: [u8; HEADER_BYTES],
    tag: [u8; 4],
    count: usize,
    raw_bytes: usize,
    payload_bytes: usize,
    padding_bytes: usize,
}

impl Header {
    /// Checks everything that can be checked without the payload.
    fn parse(bytes: [u8; HEADER_BYTES], sequence: u32) -> Result<Self, &'static str> {
        let [a, b, c, d, rest @ ..] = bytes;
        let number = |at: usize| u32::from_le_bytes([rest[at - 4], rest[at - 3], rest[at - 2], rest[at - 1]]);
        let (count, payload_bytes, width) = (number(12) as usize, number(16) as usize, usize::from(bytes[9]));
        if number(4) != sequence {
            return Err("a part is missing or out of order");
        }
        let raw_bytes = count.saturating_mul(width);
        if count > CHUNK_VALUES || width > 8 || payload_bytes > raw_bytes || bytes[8] > 1 || bytes[10..12] != [0, 0] {
            return Err("a length is out of range");
        }
        let padding_bytes = padding_bytes(count, payload_bytes);
        Ok(Self { bytes, tag: [a, b, c, d], count, raw_bytes, payload_bytes, padding_bytes })
    }
}

/// Reads chunks. What is wrong comes as text, and where by [`ChunkReader::offset`].
pub(crate) struct ChunkReader<R> {
    input: R,
    decompressor: zstd::bulk::Decompressor<'static>,
    /// The next chunk's header, read ahead.
    next: Option<Header>,
    sequence: u32,
    offset: u64,
    stored: Vec<u8>,
    values: Vec<u64>,
}

impl<R: Read> ChunkReader<R> {
    /// A reader of what follows the file's first `offset` bytes.
    pub(crate) fn new(input: R, offset: u64) -> io::Result<Self> {
        let decompressor = zstd::bulk::Decompressor::new()?;
        Ok(Self { input, decompressor, next: None, sequence: 0, offset, stored: Vec::new(), values: Vec::new() })
    }

    /// Where the chunk begins that was looked at last.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives each value of a column to `take`, which may refuse it.
    pub(crate) fn column<E: Into<String>>(
        &mut self,
        column: Column,
        mut take: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), String> {
        while self.peek()? == column.tag() {
            self.read_chunk()?;
            for value in &self.values {
                take(*value).map_err(Into::into)?;
            }
        }
        Ok(())
    }

    /// The end mark, with nothing behind it.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if self.peek()? != Column::End.tag() {
            return Err("a part is out of order".to_owned());
        }
        self.read_chunk()?;
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err("something follows its end".to_owned()),
            Err(error) => Err(read_failure(&error)),
        }
    }

    /// The tag of the next chunk that this version knows.
    fn peek(&mut self) -> Result<[u8; 4], String> {
        loop {
            let header = match self.next {
                Some(header) => header,
                None => self.read_header()?,
            };
            self.next = Some(header);
            if Column::is_known(header.tag) {
                return Ok(header.tag);
            }
            self.read_chunk()?;
        }
    }

    fn read_header(&mut self) -> Result<Header, String> {
        let mut bytes = [0; HEADER_BYTES];
        self.input.read_exact(&mut bytes).map_err(|error| read_failure(&error))?;
        Ok(Header::parse(bytes, self.sequence)?)
    }

    /// Reads the chunk whose header was read ahead into `values`.
    fn read_chunk(&mut self) -> Result<(), String> {
        let Some(header) = self.next.take() else {
            return Err("a part is missing".to_owned());
        };
        self.stored.resize(header.payload_bytes + header.padding_bytes, 0);
        self.input.read_exact(&mut self.stored).map_err(|error| read_failure(&error))?;
        let claimed = u32::from_le_bytes([header.bytes[20], header.bytes[21], header.bytes[22], header.bytes[23]]);
        if checksum(&[&header.bytes[..20], &self.stored]) != claimed {
            return Err("its checksum is wrong".to_owned());
        }
        let payload = &self.stored[..header.payload_bytes];
        match header.bytes[8] {
            0 if payload.len() == header.raw_bytes => join(payload, header.count, &mut self.values),
            0 => return Err("its two lengths differ".to_owned()),
            _ => {
                let raw = self.decompressor.decompress(payload, header.raw_bytes).map_err(|error| error.to_string())?;
                if raw.len() != header.raw_bytes {
                    return Err("its length is wrong".to_owned());
                }
                join(&raw, header.count, &mut self.values);
            }
        }
        self.offset += (HEADER_BYTES + self.stored.len()) as u64;
        self.sequence += 1;
        Ok(())
    }
}

fn read_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends too early".to_owned(),
        _ => error.to_string(),
    }
}
