//! The main interpreter of a process, and requests to its threads.
use crate::image::{self, Image};
use crate::stop::Stopped;
use crate::{Error, Process};
use memlens_cpython::debug_offsets::{REQUEST_WORDS, Requests, version_of};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest list that is followed: one that is longer is no list.
const MOST: usize = 1 << 16;
/// `_PY_EVAL_PLEASE_STOP_BIT` (Include/internal/pycore_ceval.h): the next safe point looks for requests.
const PLEASE_STOP: u64 = 1 << 5;
/// The first version that takes requests.
const FIRST: u32 = 0x030e_0000;

/// An interpreter that takes requests.
#[derive(Debug)]
pub struct Interpreter<'p> {
    process: &'p Process,
    requests: Requests,
    /// Address of the main interpreter's state.
    state: u64,
}

/// How a request was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// No thread had begun with it, and none will.
    Whole,
    /// A thread has begun with the script.
    TooLate,
}

impl<'p> Interpreter<'p> {
    /// The main interpreter of a process.
    pub fn of(process: &'p Process) -> Result<Self, Error> {
        let pid = process.pid();
        let image = image::find(process).ok_or(Error::NotPython(pid))?;
        let words: [u8; 8 * REQUEST_WORDS] = process.read(image.runtime)?;
        let mut numbers =
            words.chunks_exact(8).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        let words: [u64; REQUEST_WORDS] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
        let version = version_of([words[0], words[1]]).or_else(|| published_version(process, &image));
        if let Some(version) = version.filter(|version| *version >= FIRST) {
            if words[2] != 0 {
                return Err(Error::FreeThreaded(pid));
            }
            let requests =
                Requests::of(&words).ok_or_else(|| Error::Unknown { pid, version: version_text(version) })?;
            let state = main_state(process, &requests, image.runtime)?;
            let found = Self { process, requests, state };
            return if found.takes_requests()? { Ok(found) } else { Err(Error::Disabled(pid)) };
        }
        Err(Error::TooOld { pid, version: version.map_or_else(|| "older than 3.11".into(), version_text) })
    }

    fn takes_requests(&self) -> Result<bool, Error> {
        let flag = self.process.read(self.state.wrapping_add(self.requests.is_enabled))?;
        Ok(i32::from_le_bytes(flag) == 1)
    }

    /// Asks every thread to run the script at `path`, which is named as the process sees it. Several may run it.
    pub fn request(&self, path: &Path) -> Result<(), Error> {
        let path = path.as_os_str().as_bytes();
        if path.len() as u64 >= self.requests.path_bytes {
            return Err(Error::PathTooLong(String::from_utf8_lossy(path).into_owned()));
        }
        let _stopped = Stopped::all(self.process.pid())?;
        let threads = self.threads()?;
        if threads.is_empty() {
            return Err(Error::NoThread(self.process.pid()));
        }
        threads.into_iter().try_for_each(|thread| self.ask(thread, path))
    }

    fn ask(&self, thread: u64, path: &[u8]) -> Result<(), Error> {
        let requests = &self.requests;
        self.process.write(thread.wrapping_add(requests.path), &[path, b"\0"].concat())?;
        self.process.write(thread.wrapping_add(requests.is_pending), &1_i32.to_le_bytes())?;
        let breaker = thread.wrapping_add(requests.eval_breaker);
        let bits = self.process.read_word(breaker)? | PLEASE_STOP;
        self.process.write(breaker, &bits.to_le_bytes())
    }

    /// Takes back what no thread has begun with. (The bit of the evaluation loop stays: a thread that finds no request clears it.)
    pub fn withdraw(&self) -> Result<Withdrawn, Error> {
        let _stopped = Stopped::all(self.process.pid())?;
        let mut outcome = Withdrawn::Whole;
        for thread in self.threads()? {
            let flag = thread.wrapping_add(self.requests.is_pending);
            match i32::from_le_bytes(self.process.read(flag)?) {
                // A thread that was asked has begun, or it has begun its own life since.
                0 if self.process.read::<1>(thread.wrapping_add(self.requests.path))? != [0] => {
                    outcome = Withdrawn::TooLate
                }
                0 => {}
                _ => self.process.write(flag, &0_i32.to_le_bytes())?,
            }
            self.process.write(thread.wrapping_add(self.requests.path), &[0])?;
        }
        Ok(outcome)
    }

    fn threads(&self) -> Result<Vec<u64>, Error> {
        let first = self.process.read_word(self.state.wrapping_add(self.requests.threads))?;
        follow(self.process, first, self.requests.next_thread)
    }
}

/// The newest interpreter stands first in the list, the main one last: its number is 0.
fn main_state(process: &Process, requests: &Requests, runtime: u64) -> Result<u64, Error> {
    let newest = process.read_word(runtime.wrapping_add(requests.interpreters))?;
    for state in follow(process, newest, requests.next_interpreter)? {
        if process.read_word(state.wrapping_add(requests.interpreter_id))? == 0 {
            return Ok(state);
        }
    }
    Err(Error::NoThread(process.pid()))
}

/// The elements of a list whose links stand at an offset.
fn follow(process: &Process, first: u64, next: u64) -> Result<Vec<u64>, Error> {
    let mut elements = Vec::new();
    let mut at = first;
    while at != 0 && elements.len() < MOST {
        elements.push(at);
        at = process.read_word(at.wrapping_add(next))?;
    }
    Ok(elements)
}

fn published_version(process: &Process, image: &Image) -> Option<u32> {
    u32::try_from(process.read_word(image.version?).ok()?).ok()
}

/// `3.14.0`, `3.15.0b2` of `PY_VERSION_HEX`.
fn version_text(hex: u32) -> String {
    let [major, minor, micro, level] = hex.to_be_bytes();
    let level = match (level >> 4, level & 15) {
        (0xa, serial) => format!("a{serial}"),
        (0xb, serial) => format!("b{serial}"),
        (0xc, serial) => format!("rc{serial}"),
        _ => String::new(),
    };
    format!("{major}.{minor}.{micro}{level}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_people_write_them() {
        assert_eq!(version_text(0x030c_01f0), "3.12.1");
        assert_eq!(version_text(0x030f_00b2), "3.15.0b2");
        assert_eq!(version_text(0x0310_00c1), "3.16.0rc1");
    }
}
