//! Starting the program, and waiting for it.
use crate::interpreter::Interpreter;
use crate::signal::Inherited;
use anyhow::{Context, Result};
use memlens_format::capture::Exit;
use memlens_format::shared::COLLECTOR_ENV;
use nix::spawn::{PosixSpawnFileActions, posix_spawn};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A running child of this process.
pub struct Program {
    pid: Pid,
}

/// How it ended.
pub struct Ended {
    /// The status.
    pub exit: Exit,
    /// Its largest resident set, or that of a child that it has waited for, whichever is larger.
    pub high_water_bytes: u64,
}

impl Program {
    /// Starts `interpreter` with `words`, the agent preloaded and told where the collector listens. Nothing else differs from
    /// a start by hand: standard streams, folder, signals, limits and the rest of the environment are as memlens found them.
    ///
    /// By `posix_spawn`, which shares this process' memory with the child until that has begun: to copy the page tables, and then each page
    /// that either of the two writes to, takes a quarter of a millisecond.
    pub fn start(
        interpreter: &Interpreter,
        words: &[OsString],
        preload: &OsStr,
        collector: &str,
        inherited: Inherited,
    ) -> Result<Self> {
        let cannot_start = || format!("cannot start {}", interpreter.path.display());
        let path = CString::new(interpreter.path.as_os_str().as_bytes())?;
        let words = std::iter::once(&interpreter.name).chain(words).map(|word| CString::new(word.as_bytes()));
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let environment = environment(&[(LD_PRELOAD, preload), (COLLECTOR_ENV, OsStr::new(collector))])?;
        let actions = PosixSpawnFileActions::init().with_context(cannot_start)?;
        let attributes = inherited.attributes().with_context(cannot_start)?;
        let spawn = || posix_spawn(path.as_c_str(), &actions, &attributes, &words, &environment);
        let child = inherited.limits.without(spawn).map_err(io::Error::from).with_context(cannot_start)?;
        let pid = Pid::from_raw(child.as_raw()).context("the program has no process id")?;
        Ok(Self { pid })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Kills it.
    pub fn kill(&self) {
        // It may be gone already, which is as well.
        let _ = kill_process(self.pid, Signal::KILL);
    }

    /// Waits for its end.
    pub fn wait(self) -> io::Result<Ended> {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        loop {
            // SAFETY: both pointers lead to room for what the call fills in.
            let result = unsafe { libc::wait4(self.pid.as_raw_pid(), &mut status, 0, usage.as_mut_ptr()) };
            if result >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        // SAFETY: the call succeeded, so it has filled in `usage`.
        let usage = unsafe { usage.assume_init() };
        let status = ExitStatus::from_raw(status);
        Ok(Ended {
            exit: Exit { code: status.code(), signal: status.signal(), out_of_memory: false },
            high_water_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        })
    }
}

const LD_PRELOAD: &str = "LD_PRELOAD";

/// This process' environment, in its order, with `changes`.
fn environment(changes: &[(&str, &OsStr)]) -> Result<Vec<CString>> {
    let is_changed = |name: &OsStr| changes.iter().any(|(changed, _)| name == *changed);
    let kept = std::env::vars_os().filter(|(name, _)| !is_changed(name));
    let changes = changes.iter().map(|(name, value)| (OsString::from(name), value.to_os_string()));
    let entry = |(mut entry, value): (OsString, OsString)| {
        entry.push("=");
        entry.push(value);
        Ok(CString::new(entry.into_encoded_bytes())?)
    };
    kept.chain(changes).map(entry).collect()
}

/// The exit status that stands for `exit`: the program's own, or 128 and the signal's number.
pub fn exit_status(exit: Exit) -> u8 {
    let status = exit.code.or(exit.signal.map(|signal| 128 + signal)).unwrap_or(0);
    (status & 0xff) as u8
}
