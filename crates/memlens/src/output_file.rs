//! The file that a capture or a page goes into.
//!
//! It is made before the program starts, so that a folder that cannot be written, a full disk or a file that is in the way
//! is found out before anything has run. A file that is to be replaced stays as it is until the new one is complete.
use anyhow::{Context, Result, anyhow, bail};
use memlens_capture::{Capture, Writer};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Room that must be there before the program starts: what a small capture takes.
const RESERVED_BYTES: u64 = 128 << 10;

/// A new file with nothing in it yet. Dropped, it is removed; [`OutputFile::write`] keeps it.
pub struct OutputFile {
    file: File,
    has_reserve: bool,
    /// Where it is while it is written.
    path: PathBuf,
    /// Where it belongs.
    destination: PathBuf,
    is_kept: bool,
}

impl OutputFile {
    /// Makes the file. An existing one is an error, or with `replace` stands until [`OutputFile::write`] has succeeded.
    pub fn create(destination: &Path, replace: bool) -> Result<Self> {
        let path = match fs::symlink_metadata(destination) {
            Ok(_) if !replace => bail!("{} exists already; --force replaces it", destination.display()),
            Ok(found) if !found.is_file() => bail!("{} is not a file that can be replaced", destination.display()),
            Ok(_) => sibling(destination),
            Err(_) => destination.to_owned(),
        };
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).with_context(|| cannot_write(destination))?;
        let mut output = Self { file, has_reserve: false, path, destination: destination.to_owned(), is_kept: false };
        output.reserve().with_context(|| cannot_write(destination))?;
        Ok(output)
    }

    /// Where the capture will be.
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Has `writer` write the capture and puts the file in its place. Returns its size.
    pub fn write(self, writer: Writer, capture: &Capture) -> Result<u64> {
        let name = self.destination.display().to_string();
        let written = self.write_with(|file| {
            // A small capture's sections in one call.
            let mut file = BufWriter::with_capacity(RESERVED_BYTES as usize, file);
            writer.write_to(&mut file, capture).map_err(|error| anyhow!("{name}: {error}"))
        })?;
        Ok(written.bytes)
    }

    /// Lets `write` fill the file, then puts it in its place.
    pub fn write_with<T>(mut self, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
        self.give_back_reserve().with_context(|| cannot_write(&self.destination))?;
        let written = write(&mut self.file)?;
        if self.path != self.destination {
            fs::rename(&self.path, &self.destination).with_context(|| cannot_write(&self.destination))?;
        }
        self.is_kept = true;
        Ok(written)
    }

    fn reserve(&mut self) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, RESERVED_BYTES) {
            Ok(()) => self.has_reserve = true,
            // Some file systems cannot reserve, and some containers refuse the call (EPERM); then it shows when the capture is written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Gives the room back that was there: the program may need it. Takes a while, which is best spent while the program is loaded.
    ///
    /// One byte stays, which is written over. A file that was truncated to nothing ext4 takes for one that is being replaced: it sends what is
    /// written into it to the disk when it is closed, for which memlens would wait (0.2 ms).
    pub fn give_back_reserve(&mut self) -> io::Result<()> {
        if self.has_reserve {
            self.file.set_len(1)?;
            self.has_reserve = false;
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It was empty or incomplete; if it cannot be removed, there is nobody left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// A hidden name in the same folder, so that a rename can put it in place.
fn sibling(destination: &Path) -> PathBuf {
    let name = destination.file_name().unwrap_or_default().display();
    destination.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_reserve_stays_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for gives_back_early in [true, false] {
            let path = folder.path().join(format!("a-{gives_back_early}"));
            let mut output = OutputFile::create(&path, false).unwrap();
            if gives_back_early {
                output.give_back_reserve().unwrap();
                assert!(output.file.metadata().unwrap().len() <= 1);
            }
            output.write_with(|file| Ok(io::Write::write_all(file, b"all of it")?)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"all of it");
        }
    }
}
