//! Limits on resources that are meant for the program and not for memlens, whose shared tables count as a file and as address space, and which
//! needs descriptors of its own. They are lifted as far as this process may, and put back in the program.
use anyhow::{Result, bail};

const LIFTED: [libc::__rlimit_resource_t; 4] =
    [libc::RLIMIT_FSIZE, libc::RLIMIT_NOFILE, libc::RLIMIT_AS, libc::RLIMIT_DATA];
/// As many descriptors are enough for any number of processes that are recorded at once.
const DESCRIPTORS: libc::rlim_t = 1 << 16;
/// Descriptors without which not even one process can be recorded: three standard streams, the signals, the capture, the socket, the process,
/// its connection, its shared memory, the news of its end, and what is looked at in `/proc`.
const LEAST_DESCRIPTORS: libc::rlim_t = 12;

/// What was lifted, and from where.
#[derive(Clone, Copy)]
pub struct Lifted([Option<libc::rlimit>; LIFTED.len()]);

impl Lifted {
    /// Lifts the limits of this process.
    pub fn now() -> Self {
        Self(LIFTED.map(lift))
    }

    /// What `body` returns, which runs with the limits as they were. They are lifted again afterwards.
    pub fn without<T>(&self, body: impl FnOnce() -> T) -> T {
        self.restore();
        let result = body();
        Self::now();
        result
    }

    /// Puts them back, which the kernel always allows: each is the process' own former limit, and not above the present one.
    fn restore(&self) {
        for (resource, limit) in LIFTED.iter().zip(&self.0) {
            if let Some(limit) = limit {
                // SAFETY: a whole limit.
                unsafe { libc::setrlimit(*resource, limit) };
            }
        }
    }
}

/// An error where too few files may be open, lifted as the limit is.
pub fn check_descriptors() -> Result<()> {
    match read(libc::RLIMIT_NOFILE) {
        Some(limit) if limit.rlim_cur < LEAST_DESCRIPTORS => {
            bail!("only {} files may be open at once (ulimit -n); memlens needs {LEAST_DESCRIPTORS}", limit.rlim_cur)
        }
        _ => Ok(()),
    }
}

fn read(resource: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for a limit.
    (unsafe { libc::getrlimit(resource, &mut limit) } == 0).then_some(limit)
}

/// Lifts a limit; returns what it was, or `None` if it stays.
fn lift(resource: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let old = read(resource)?;
    // Only root may raise the hard limit, and that of descriptors not to infinity.
    let candidates = [libc::RLIM_INFINITY, old.rlim_max.max(DESCRIPTORS), old.rlim_max];
    let lifts = |most: &libc::rlim_t| {
        let lifted = libc::rlimit { rlim_cur: *most, rlim_max: *most };
        // SAFETY: a whole limit.
        unsafe { libc::setrlimit(resource, &lifted) == 0 }
    };
    candidates.iter().any(lifts).then_some(old)
}
