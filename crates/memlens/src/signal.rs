//! Signals while a program is recorded.
//!
//! The terminal sends its signals (Ctrl-C, Ctrl-\, a hang-up) to the program as well as to memlens, which therefore takes no
//! notice of them. What is sent to memlens alone, as `kill` or a supervisor does, is meant for the program and is passed on.
//! All of this works by blocking the signals and reading them from a descriptor: no disposition is changed that the
//! program could inherit, but for the blocked set and SIGXFSZ, which [`Inherited::attributes`] puts back.
use crate::limit::Lifted;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFlags};
use nix::sys::signal::SigSet;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::mem::{MaybeUninit, offset_of};

/// Passed on to the program, unless they come from the kernel (the terminal), which has sent them to the program too.
const FORWARDED: [i32; 4] = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
/// Read and dropped.
const DROPPED: [i32; 2] = [libc::SIGINT, libc::SIGQUIT];

/// The signals that arrive, as a descriptor to wait on.
pub struct SignalWatch {
    descriptor: OwnedFd,
}

/// What memlens was started with, and the program shall be started with.
#[derive(Clone, Copy)]
pub struct Inherited {
    mask: libc::sigset_t,
    file_size_action: libc::sigaction,
    /// The limits.
    pub limits: Lifted,
}

impl SignalWatch {
    /// Blocks the signals that are dealt with here. Limits are lifted as far as that is allowed; SIGXFSZ is ignored, so that what is left of
    /// the limit on the size of files comes back as an error.
    pub fn begin() -> io::Result<(Self, Inherited)> {
        let watched = set_of(FORWARDED.iter().chain(&DROPPED));
        let mut mask = set_of(&[]);
        // SAFETY: both point to initialised signal sets.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &watched, &mut mask) })?;
        let file_size_action = ignore(libc::SIGXFSZ)?;
        // SAFETY: -1 asks for a new descriptor; `watched` is an initialised signal set.
        let descriptor = check(unsafe { libc::signalfd(-1, &watched, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let inherited = Inherited { mask, file_size_action, limits: Lifted::now() };
        Ok((Self { descriptor }, inherited))
    }

    /// The descriptor, readable while there are signals.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Deals with what has arrived. `program` must be a child that has not been waited for, so that its number is not
    /// somebody else's.
    pub fn forward_to(&self, program: Pid) {
        let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
        while let Ok(length) = rustix::io::read(&self.descriptor, &mut record) {
            if length < record.len() {
                break;
            }
            let field = |offset: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|byte| record[offset + byte]));
            let number = field(offset_of!(libc::signalfd_siginfo, ssi_signo));
            let is_from_kernel = field(offset_of!(libc::signalfd_siginfo, ssi_code)) > 0;
            if is_from_kernel || !FORWARDED.contains(&number) {
                continue;
            }
            if let Some(signal) = Signal::from_named_raw(number) {
                // The program may be gone already; that is noticed elsewhere.
                let _ = kill_process(program, signal);
            }
        }
    }
}

impl Inherited {
    /// What a program is to be spawned with, so that it has the signals that memlens was started with. SIGPIPE has the default action again,
    /// which Rust's runtime took from it.
    pub fn attributes(&self) -> nix::Result<PosixSpawnAttr> {
        let mut reset = SigSet::empty();
        reset.add(nix::sys::signal::Signal::SIGPIPE);
        if self.file_size_action.sa_sigaction == libc::SIG_DFL {
            reset.add(nix::sys::signal::Signal::SIGXFSZ);
        }
        // SAFETY: the kernel has filled in the mask.
        let mask = unsafe { SigSet::from_sigset_t_unchecked(self.mask) };
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
        attributes.set_sigmask(&mask)?;
        attributes.set_sigdefault(&reset)?;
        Ok(attributes)
    }
}

fn set_of<'a>(signals: impl IntoIterator<Item = &'a i32>) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises what it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the line above.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: `set` is initialised; an unknown signal would be refused.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}

/// Ignores a signal; returns what was done about it before.
fn ignore(signal: i32) -> io::Result<libc::sigaction> {
    let action = libc::sigaction { sa_sigaction: libc::SIG_IGN, sa_mask: set_of(&[]), sa_flags: 0, sa_restorer: None };
    let mut old = MaybeUninit::uninit();
    // SAFETY: `action` is a whole action without a handler; `old` has room for one.
    check(unsafe { libc::sigaction(signal, &action, old.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it has filled in `old`.
    Ok(unsafe { old.assume_init() })
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
