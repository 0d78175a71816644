//! What can go wrong with a graph and its file.
use std::io;
use std::path::PathBuf;

/// Why a graph could not be built. The builder notes the first mistake and gives it at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Object numbers have 32 bits.
    #[error("more than 4,294,967,294 objects")]
    TooManyObjects,
    /// Places in the list of references have 32 bits.
    #[error("more than 4,294,967,294 references")]
    TooManyEdges,
    /// Numbers of names have 28 bits, and all names together four gigabytes.
    #[error("more names than there are numbers for")]
    TooManyNames,
    /// An object number that the builder has not given.
    #[error("object {0} does not exist")]
    UnknownObject(u32),
    /// A type number that the builder has not given.
    #[error("type {0} does not exist")]
    UnknownType(u32),
    /// A name number that the builder has not given.
    #[error("name {0} does not exist")]
    UnknownName(u32),
    /// An address beyond 48 bits.
    #[error("address {0:#x} has more than 48 bits")]
    Address(u64),
}

/// Why a file could not be read or written. Each is one line, which names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system would not open or read the file.
    #[error("cannot open {}: {}", path.display(), reason(source))]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a memlens heap snapshot", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// A newer memlens wrote the file.
    #[error(
        "{} has heap format version {version}, newer than this memlens can read ({newest}): use a newer memlens",
        path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version that can be read.
        newest: u32,
    },
    /// A part is missing or has changed.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        reason: String,
    },
    /// The operating system would not write the file.
    #[error("cannot write the heap snapshot: {}", reason(source))]
    CannotWrite {
        /// Why.
        source: io::Error,
    },
}

/// The operating system's reason without Rust's "(os error 2)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
