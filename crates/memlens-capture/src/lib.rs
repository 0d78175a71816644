//! Writing captures. (A stand-in: the real one comes with the reader.)
use memlens_format::capture::Capture;
use std::io::Write;

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Length of the file.
    pub bytes: u64,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("cannot write the capture: {source}")]
    CannotWrite {
        /// Why.
        source: std::io::Error,
    },
}

/// Writes a capture to `out`.
pub fn write_to(out: &mut impl Write, capture: &Capture) -> Result<Written, Error> {
    let text = format!("{capture:?}");
    out.write_all(text.as_bytes())
        .map_err(|source| Error::CannotWrite { source })?;
    Ok(Written {
        bytes: text.len() as u64,
    })
}
