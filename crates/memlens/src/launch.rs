//! Starting the program, and waiting for it.
use crate::interpreter::Interpreter;
use crate::signal::Inherited;
use anyhow::{Context, Result};
use memlens_format::capture::Exit;
use memlens_format::shared::COLLECTOR_ENV;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

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
    /// a start by hand: standard streams, folder, signals and the rest of the environment are as memlens found them.
    pub fn start(
        interpreter: &Interpreter,
        words: &[OsString],
        preload: &OsStr,
        collector: &str,
        inherited: Inherited,
    ) -> Result<Self> {
        let mut command = Command::new(&interpreter.path);
        command.arg0(&interpreter.name).args(words).env("LD_PRELOAD", preload).env(COLLECTOR_ENV, collector);
        // SAFETY: `restore` makes two system calls and touches no lock, no heap and no thread-local state.
        unsafe { command.pre_exec(move || inherited.restore()) };
        let child = command.spawn().with_context(|| format!("cannot start {}", interpreter.path.display()))?;
        let pid = Pid::from_raw(child.id().cast_signed()).context("the program has no process id")?;
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

/// The exit status that stands for `exit`: the program's own, or 128 and the signal's number.
pub fn exit_status(exit: Exit) -> u8 {
    let status = exit.code.or(exit.signal.map(|signal| 128 + signal)).unwrap_or(0);
    (status & 0xff) as u8
}
