//! Ctrl-C and its like while something has to be undone first.
use anyhow::Context;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;

/// Holds the signals that end a command back, until it is dropped.
pub struct Interruption {
    descriptor: SignalFd,
    before: SigSet,
}

impl Interruption {
    /// From now on.
    pub fn hold_back() -> anyhow::Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals, flags).context("cannot wait for signals")?;
        Ok(Self { descriptor, before })
    }

    /// Waits for so long, or until a signal has come. It stays pending, and does its work after the drop.
    pub fn comes_within(&self, time: Duration) -> bool {
        let timeout = Timespec::try_from(time).ok();
        let mut waiting = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut waiting, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        // The set came from the kernel: it cannot be refused.
        let _ = self.before.thread_set_mask();
    }
}
