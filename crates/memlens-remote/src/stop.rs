//! A process that stands still for a moment, by `ptrace`.
//!
//! The threads are seized and interrupted, which no program notices (`SIGSTOP` would tell its shell). When the guard goes, or when we end in
//! whatever way, they run on.
use crate::Error;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

/// A thread that has not stopped by then hangs in the kernel.
const LIMIT: Duration = Duration::from_secs(2);

/// The threads, each with the signal that its stop kept from it.
pub(crate) struct Stopped {
    threads: Vec<(Pid, Option<Signal>)>,
}

impl Stopped {
    /// Stops every thread of a process.
    pub(crate) fn all(pid: u32) -> Result<Self, Error> {
        let mut stopped = Self { threads: Vec::new() };
        let mut known = HashSet::new();
        // Threads that the last ones started before they stopped are found in the next round.
        loop {
            let new: Vec<Pid> = threads(pid).into_iter().filter(|thread| known.insert(*thread)).collect();
            if new.is_empty() {
                return Ok(stopped);
            }
            for thread in new {
                stopped.stop(thread).map_err(|_| Error::NotStoppable(pid))?;
            }
        }
    }

    fn stop(&mut self, thread: Pid) -> Result<(), Errno> {
        let seized = ptrace::seize(thread, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(thread));
        match seized {
            // It has ended.
            Err(Errno::ESRCH) => return Ok(()),
            seized => seized?,
        }
        let started = Instant::now();
        loop {
            match waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive if started.elapsed() < LIMIT => std::thread::sleep(Duration::from_micros(50)),
                WaitStatus::StillAlive => return Err(Errno::ETIMEDOUT),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(()),
                WaitStatus::Stopped(_, signal) => return self.note(thread, Some(signal)),
                _ => return self.note(thread, None),
            }
        }
    }

    fn note(&mut self, thread: Pid, signal: Option<Signal>) -> Result<(), Errno> {
        self.threads.push((thread, signal));
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for (thread, signal) in &self.threads {
            // It may have been killed meanwhile.
            let _ = ptrace::detach(*thread, *signal);
        }
    }
}

fn threads(pid: u32) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.map(Pid::from_raw).collect()
}
