//! What can go wrong with a capture's file.
use std::io;
use std::path::PathBuf;

/// Why a capture could not be read or written. Each is one line, which names the file.
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
    #[error("{} is not a memlens capture", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// A newer memlens wrote the file.
    #[error(
        "{} has capture format version {version}, newer than this memlens can read ({newest}): use a newer memlens",
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
    /// Nothing useful is left of the capture.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        reason: String,
    },
    /// The operating system would not write the file.
    #[error("cannot write the capture: {}", reason(source))]
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
