//! A file to a capture: checked, and salvaged where it is cut short or damaged.
use crate::Error;
use crate::write::{FREE_RAW_BYTES, MAX_RATIO};
use memlens_format::capture::container::{
    CAPTURE_VERSION, Compression, ContainerErrorKind, StoredSection, StoredSections, read_file_header,
};
use memlens_format::capture::{Capture, Decoder, Section};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// Most bytes that all sections of a file may come to once they are decompressed: fifty times the largest capture seen.
const MAX_RAW_BYTES: u64 = 256 << 20;

/// Largest file that is read: no capture can be larger, since a section is never stored longer than it is.
const MAX_FILE_BYTES: u64 = MAX_RAW_BYTES + (1 << 20);

/// How much of a capture a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Everything.
    All,
    /// Everything but the slices, which are the largest section: figures over the whole recording do without.
    WithoutSlices,
}

/// A capture that was read, perhaps not all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// What could be read. What could not is empty.
    pub capture: Capture,
    /// `None` for a file in good order.
    pub damage: Option<Damage>,
}

/// What is wrong with a file that could still be read in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file ends too early. Otherwise it has its length, but some bytes have changed.
    pub truncated: bool,
    /// The sections that could not be read.
    pub missing: Vec<Section>,
    /// The first thing that was wrong, in words.
    pub reason: String,
}

impl Opened {
    /// The capture, whose [`Meta::complete`](memlens_format::capture::Meta::complete) says no if the file was damaged.
    pub fn into_capture(self) -> Capture {
        let mut capture = self.capture;
        if let Some(damage) = self.damage {
            capture.meta.complete = false;
            if capture.meta.incomplete_reason.is_empty() {
                capture.meta.incomplete_reason = damage.to_string();
            }
        }
        capture
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.truncated { "truncated" } else { "damaged" };
        write!(formatter, "the capture is {what} ({})", self.reason)?;
        let names: Vec<&str> = self.missing.iter().map(|section| section.name()).collect();
        match names.as_slice() {
            [] => write!(formatter, "; nothing is missing"),
            names => write!(formatter, "; missing: {}", names.join(", ")),
        }
    }
}

/// Reads a capture, of any released version.
pub fn open(path: &Path) -> Result<Opened, Error> {
    open_parts(path, Parts::All)
}

/// Reads a part of a capture.
pub fn open_parts(path: &Path, parts: Parts) -> Result<Opened, Error> {
    let cannot_open = |source| Error::CannotOpen { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(cannot_open)?;
    let metadata = file.metadata().map_err(cannot_open)?;
    if metadata.is_dir() {
        return Err(cannot_open(std::io::Error::other("it is a folder")));
    }
    let length = metadata.len();
    let mut bytes = Vec::with_capacity(length.min(MAX_FILE_BYTES) as usize + 1);
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot_open)?;
    if bytes.len() as u64 > MAX_FILE_BYTES && read_file_header(&bytes).is_ok() {
        let reason = format!("it is larger than {MAX_FILE_BYTES} bytes");
        return Err(Error::Damaged { path: path.to_owned(), reason });
    }
    read(&bytes, path, parts)
}

/// Reads a capture from the bytes of a file. `path` is for messages only.
pub fn read(file: &[u8], path: &Path, parts: Parts) -> Result<Opened, Error> {
    check_version(file, path)?;
    let mut salvage = Salvage::new(parts);
    for section in StoredSections::new(file) {
        match section {
            Ok(section) => salvage.take(section),
            Err(error) => {
                salvage.truncated = true;
                salvage.note(error.to_string());
            }
        }
        if salvage.ended {
            break;
        }
    }
    salvage.finish(path)
}

fn check_version(file: &[u8], path: &Path) -> Result<(), Error> {
    let version = read_file_header(file).map_err(|error| match error.kind {
        ContainerErrorKind::NotACapture => Error::NotACapture { path: path.to_owned() },
        ContainerErrorKind::Truncated => damaged(path, "it is truncated within its first 12 bytes"),
    })?;
    match version {
        0 => Err(damaged(path, "it claims to have format version 0")),
        CAPTURE_VERSION => Ok(()),
        version => Err(Error::NewerVersion { path: path.to_owned(), version, newest: CAPTURE_VERSION }),
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

/// Gathers what can be read.
struct Salvage {
    decoder: Decoder,
    parts: Parts,
    skipped_slices: bool,
    raw_bytes: u64,
    truncated: bool,
    ended: bool,
    reason: Option<String>,
}

impl Salvage {
    fn new(parts: Parts) -> Self {
        Self {
            decoder: Decoder::new(CAPTURE_VERSION),
            parts,
            skipped_slices: false,
            raw_bytes: 0,
            truncated: false,
            ended: false,
            reason: None,
        }
    }

    fn take(&mut self, stored: StoredSection<'_>) {
        let Some(section) = stored.section() else {
            // A later version's, or one whose tag is damaged.
            if !stored.is_intact() {
                self.note(format!("checksum of an unknown section at byte {}", stored.offset()));
            }
            return;
        };
        if section == Section::Slices && self.parts == Parts::WithoutSlices {
            self.skipped_slices = true;
            return;
        }
        if !stored.is_intact() {
            return self.note(format!("checksum of section {} at byte {}", section.name(), stored.offset()));
        }
        let payload = match decompress(&stored, MAX_RAW_BYTES - self.raw_bytes) {
            Ok(payload) => payload,
            Err(reason) => return self.note(format!("section {}: {reason}", section.name())),
        };
        self.raw_bytes += payload.len() as u64;
        match self.decoder.section(section, &payload) {
            Ok(()) => self.ended = section == Section::End,
            Err(error) => self.note(error.to_string()),
        }
    }

    /// Keeps the first thing that was wrong: the others mostly follow from it.
    fn note(&mut self, reason: String) {
        self.reason.get_or_insert(reason);
    }

    fn finish(mut self, path: &Path) -> Result<Opened, Error> {
        if !self.ended {
            self.truncated = true;
            self.note("the file ends before its end mark".to_owned());
        }
        let missing = self.missing();
        let damage = match self.reason {
            None if missing.is_empty() => None,
            reason => {
                let reason = reason.unwrap_or_else(|| "sections are not there".to_owned());
                Some(Damage { truncated: self.truncated, missing, reason })
            }
        };
        match damage {
            Some(damage) if !self.decoder.has(Section::Meta) => {
                let reason = format!("nothing can be read ({})", damage.reason);
                Err(Error::Damaged { path: path.to_owned(), reason })
            }
            damage => Ok(Opened { capture: self.decoder.finish(), damage }),
        }
    }

    fn missing(&self) -> Vec<Section> {
        let is_missing = |section: &Section| match section {
            // Captures from before it was written have none.
            Section::End | Section::Shortage | Section::Proportional | Section::Regions => false,
            Section::Slices if self.skipped_slices => false,
            section => !self.decoder.has(*section),
        };
        Section::ALL.into_iter().filter(is_missing).collect()
    }
}

/// The payload of a section. `budget` is how many bytes the file may still demand.
fn decompress<'a>(section: &StoredSection<'a>, budget: u64) -> Result<Cow<'a, [u8]>, String> {
    let stored = section.stored();
    let claimed = section.raw_bytes();
    let limit = FREE_RAW_BYTES.saturating_add(MAX_RATIO.saturating_mul(stored.len() as u64)).min(budget);
    if claimed > limit {
        return Err(format!("it claims {claimed} bytes, more than {limit}"));
    }
    match section.compression() {
        Some(Compression::None) if claimed == stored.len() as u64 => Ok(Cow::Borrowed(stored)),
        Some(Compression::None) => Err("its two lengths differ".to_owned()),
        Some(Compression::Zstd) => {
            let raw = zstd::bulk::decompress(stored, claimed as usize).map_err(|error| error.to_string())?;
            if raw.len() as u64 == claimed { Ok(Cow::Owned(raw)) } else { Err("its length is wrong".to_owned()) }
        }
        None => Err("its compression is not known".to_owned()),
    }
}
