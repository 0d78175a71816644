//! A process's memory and files, by way of `/proc`.
use crate::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A process that may be looked into.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    memory: File,
}

/// A file that is mapped into the process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Where its beginning is mapped.
    pub(crate) start: u64,
    /// The name in `/proc/PID/map_files`.
    range: String,
    /// Its path as the process sees it.
    pub(crate) path: PathBuf,
}

impl Process {
    /// The process of this number.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        match memory {
            Ok(memory) => Ok(Self { pid, memory }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::NotPermitted(pid)),
            Err(_) => Err(Error::NoProcess(pid)),
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs: memory of a process that has ended reads as nothing.
    pub fn is_alive(&self) -> bool {
        self.file("maps").is_ok_and(|maps| !maps.is_empty())
    }

    /// A file of the process by its path there, which a container or a `chroot` may give another meaning.
    pub fn seen_from_here(&self, path: &Path) -> PathBuf {
        let own = |name: &str| fs::read_link(format!("/proc/self/{name}")).ok();
        let its = |name: &str| fs::read_link(format!("/proc/{}/{name}", self.pid)).ok();
        // The short way stays open when the process has ended.
        if ["ns/mnt", "root"].into_iter().all(|name| own(name) == its(name)) {
            return path.to_owned();
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A variable of the environment that it was started with.
    pub fn variable(&self, name: &str) -> Option<String> {
        let all = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let mut values = all.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
        values.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    fn file(&self, name: &str) -> io::Result<String> {
        fs::read(format!("/proc/{}/{name}", self.pid)).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Its program's file.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// The beginnings of all files that are mapped.
    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        self.file("maps").unwrap_or_default().lines().filter_map(Mapping::parse).collect()
    }

    /// Opens a file that is mapped, even one that has been removed or replaced since.
    pub(crate) fn open_mapped(&self, mapping: &Mapping) -> io::Result<File> {
        File::open(format!("/proc/{}/map_files/{}", self.pid, mapping.range))
            .or_else(|_| File::open(self.seen_from_here(&mapping.path)))
    }

    pub(crate) fn read<const BYTES: usize>(&self, address: u64) -> Result<[u8; BYTES], Error> {
        let mut bytes = [0; BYTES];
        self.memory.read_exact_at(&mut bytes, address).map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    pub(crate) fn read_word(&self, address: u64) -> Result<u64, Error> {
        self.read(address).map(u64::from_le_bytes)
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        self.memory.write_all_at(bytes, address).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        if self.is_alive() { Error::Memory { pid: self.pid, source } } else { Error::NoProcess(self.pid) }
    }
}

impl Mapping {
    /// A line of `/proc/PID/maps` that maps the beginning of a file.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let range = words.next()?;
        let offset = words.nth(1)?;
        let path = line.get(line.find('/')?..)?;
        let start = u64::from_str_radix(range.split_once('-')?.0, 16).ok()?;
        let is_beginning = u64::from_str_radix(offset, 16) == Ok(0);
        is_beginning.then(|| Self { start, range: range.to_owned(), path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps() {
        let line =
            "7f0000001000-7f0000002000 r--p 00000000 08:01 42                 /opt/my files/libpython3.14.so.1.0";
        let mapping = Mapping::parse(line).expect("a file's beginning");
        assert_eq!(mapping.start, 0x7f00_0000_1000);
        assert_eq!(mapping.range, "7f0000001000-7f0000002000");
        assert_eq!(mapping.path, Path::new("/opt/my files/libpython3.14.so.1.0"));
        assert_eq!(Mapping::parse("7f0000001000-7f0000002000 rw-p 00001000 08:01 42 /opt/x"), None);
        assert_eq!(Mapping::parse("7f0000001000-7f0000002000 rw-p 00000000 00:00 0"), None);
    }
}
