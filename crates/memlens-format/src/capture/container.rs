//! The file around the sections of a capture: magic, version, and sections that each carry their length and checksum.
//!
//! ```text
//!  0   8  MAGIC
//!  8   4  version                     one of CAPTURE_VERSIONS
//! 12      sections, in the order of Section::ALL, the last is Section::End
//!
//! a section:
//!  0   4  tag                         Section::tag
//!  4   1  compression                 Compression
//!  5   3  zero
//!  8   8  stored length               of the payload as it stands in the file
//! 16   8  raw length                  of the payload once it is decompressed
//! 24   4  CRC-32 (IEEE)              of bytes 0 to 23 and of the stored payload
//! 28      stored payload
//! ```
//! Every integer is little-endian. A section with an unknown tag is skipped. What a section's payload holds stands in
//! the `encode` module.
use core::fmt;

/// The first eight bytes of every capture.
pub const MAGIC: [u8; 8] = *b"MLENSCAP";

/// The version that is written.
pub const CAPTURE_VERSION: u32 = 1;

/// Every version ever released, each still readable, with what it brought.
pub const CAPTURE_VERSIONS: &[(u32, &str)] = &[(1, "memlens 0.1: meta to slices, columns of varints, zstd")];

/// Length of magic and version.
pub const FILE_HEADER_BYTES: usize = 12;

/// Length of a section's header.
pub const SECTION_HEADER_BYTES: usize = 28;

/// A part of a capture, in the order in which they are written: a truncated file keeps the parts that come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// [`super::Meta`].
    Meta,
    /// [`super::Process`]es.
    Processes,
    /// Names.
    Strings,
    /// [`super::Frame`]s.
    Frames,
    /// [`super::Node`]s.
    Nodes,
    /// [`super::Site`]s.
    Sites,
    /// [`super::Release`]s.
    Releases,
    /// [`super::Point`]s.
    Timeline,
    /// [`super::Slice`]s.
    Slices,
    /// [`super::Point::pss_bytes`] of all points: not in captures from before it was written.
    Proportional,
    /// [`super::Shortage`]: only in captures of programs that had one.
    Shortage,
    /// [`super::Region`]s: only in captures of programs that had some.
    Regions,
    /// Nothing: it says that the file is whole.
    End,
}

impl Section {
    /// Every section, in the order of the file.
    pub const ALL: [Self; 13] = [
        Self::Meta,
        Self::Processes,
        Self::Strings,
        Self::Frames,
        Self::Nodes,
        Self::Sites,
        Self::Releases,
        Self::Timeline,
        Self::Slices,
        Self::Proportional,
        Self::Shortage,
        Self::Regions,
        Self::End,
    ];

    /// The four bytes that name it in the file.
    pub fn tag(self) -> [u8; 4] {
        match self {
            Self::Meta => *b"META",
            Self::Processes => *b"PROC",
            Self::Strings => *b"STRS",
            Self::Frames => *b"FRAM",
            Self::Nodes => *b"NODE",
            Self::Sites => *b"SITE",
            Self::Releases => *b"FREE",
            Self::Timeline => *b"TIME",
            Self::Slices => *b"SLIC",
            Self::Proportional => *b"PSS.",
            Self::Shortage => *b"WANT",
            Self::Regions => *b"REGN",
            Self::End => *b"END.",
        }
    }

    /// The section with this tag, or `None` if this version knows none.
    pub fn from_tag(tag: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.tag() == tag)
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Processes => "processes",
            Self::Strings => "strings",
            Self::Frames => "frames",
            Self::Nodes => "nodes",
            Self::Sites => "sites",
            Self::Releases => "releases",
            Self::Timeline => "timeline",
            Self::Slices => "slices",
            Self::Proportional => "proportional set sizes",
            Self::Shortage => "shortage",
            Self::Regions => "regions",
            Self::End => "end",
        }
    }
}

/// How a stored payload was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// One Zstandard frame.
    Zstd = 1,
}

/// The first bytes of a file of the current version.
pub fn file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..].copy_from_slice(&CAPTURE_VERSION.to_le_bytes());
    header
}

/// The version that a file claims to have. It may be one that this reader does not know.
pub fn read_file_header(file: &[u8]) -> Result<u32, ContainerError> {
    if file.len() < MAGIC.len() || file[..MAGIC.len()] != MAGIC {
        return Err(ContainerError { offset: 0, kind: ContainerErrorKind::NotACapture });
    }
    match file.get(8..FILE_HEADER_BYTES) {
        Some(&[a, b, c, d]) => Ok(u32::from_le_bytes([a, b, c, d])),
        _ => Err(ContainerError { offset: file.len(), kind: ContainerErrorKind::Truncated }),
    }
}

/// The header of a section, with the checksum over itself and `stored`.
pub fn section_header(
    section: Section,
    compression: Compression,
    raw_bytes: u64,
    stored: &[u8],
) -> [u8; SECTION_HEADER_BYTES] {
    let mut header = [0; SECTION_HEADER_BYTES];
    header[..4].copy_from_slice(&section.tag());
    header[4] = compression as u8;
    header[8..16].copy_from_slice(&(stored.len() as u64).to_le_bytes());
    header[16..24].copy_from_slice(&raw_bytes.to_le_bytes());
    let checksum = checksum(&header[..24], stored);
    header[24..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(stored);
    hasher.finalize()
}

/// A section as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub struct StoredSection<'a> {
    header: &'a [u8],
    stored: &'a [u8],
    offset: usize,
}

impl<'a> StoredSection<'a> {
    /// Which section it is; `None` if this version does not know its tag.
    pub fn section(&self) -> Option<Section> {
        Section::from_tag([self.header[0], self.header[1], self.header[2], self.header[3]])
    }

    /// How the payload was compressed; `None` for a number that no released version wrote.
    pub fn compression(&self) -> Option<Compression> {
        match self.header[4] {
            0 => Some(Compression::None),
            1 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Length of the decompressed payload, as the file claims.
    pub fn raw_bytes(&self) -> u64 {
        read_u64(self.header, 16)
    }

    /// The payload as it stands in the file.
    pub fn stored(&self) -> &'a [u8] {
        self.stored
    }

    /// Where the section begins in the file.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether the checksum agrees with header and payload.
    pub fn is_intact(&self) -> bool {
        let claimed = u32::from_le_bytes([self.header[24], self.header[25], self.header[26], self.header[27]]);
        checksum(&self.header[..24], self.stored) == claimed
    }
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// Walks over the sections of a file, without looking into them.
#[derive(Clone, Debug)]
pub struct StoredSections<'a> {
    file: &'a [u8],
    offset: usize,
}

impl<'a> StoredSections<'a> {
    /// The sections of `file`, whose header the caller has checked by [`read_file_header`].
    pub fn new(file: &'a [u8]) -> Self {
        Self { file, offset: FILE_HEADER_BYTES.min(file.len()) }
    }
}

impl<'a> Iterator for StoredSections<'a> {
    type Item = Result<StoredSection<'a>, ContainerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = &self.file[offset..];
        if rest.is_empty() {
            return None;
        }
        let section = (|| {
            let header = rest.get(..SECTION_HEADER_BYTES)?;
            let length = usize::try_from(read_u64(header, 8)).ok()?;
            let stored = rest[SECTION_HEADER_BYTES..].get(..length)?;
            Some(StoredSection { header, stored, offset })
        })();
        match section {
            Some(section) => {
                self.offset = offset + SECTION_HEADER_BYTES + section.stored.len();
                Some(Ok(section))
            }
            None => {
                self.offset = self.file.len();
                Some(Err(ContainerError { offset, kind: ContainerErrorKind::Truncated }))
            }
        }
    }
}

/// Why the file's frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerError {
    /// Where in the file.
    pub offset: usize,
    /// What was wrong.
    pub kind: ContainerErrorKind,
}

/// What was wrong with the file's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerErrorKind {
    /// It does not begin with [`MAGIC`].
    NotACapture,
    /// It ends inside a header or a section.
    Truncated,
}

impl fmt::Display for ContainerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ContainerErrorKind::NotACapture => write!(formatter, "not a memlens capture"),
            ContainerErrorKind::Truncated => {
                write!(formatter, "the file ends inside the part that begins at byte {}", self.offset)
            }
        }
    }
}

impl core::error::Error for ContainerError {}
