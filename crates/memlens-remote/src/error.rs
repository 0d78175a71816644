//! Why a running program cannot be asked. Each is one line.
use std::io;

/// What went wrong. A process is named by its number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No process has this number, or it has ended.
    #[error("no process {0} is running")]
    NoProcess(u32),
    /// The kernel does not let us look into it.
    #[error(
        "process {0} may not be looked into: it is another user's, or the kernel allows it to root alone (kernel.yama.ptrace_scope)"
    )]
    NotPermitted(u32),
    /// It has no CPython in it, or one that cannot be recognised.
    #[error("process {0} is no CPython program")]
    NotPython(u32),
    /// Its CPython takes no requests yet.
    #[error(
        "process {pid} runs CPython {version}: only 3.14 and newer can be asked from outside; call memlens.snapshot().save(FILE) in the program"
    )]
    TooOld {
        /// The process.
        pid: u32,
        /// `3.12.1`, or `older than 3.11`.
        version: String,
    },
    /// A newer CPython than is known, an alpha or a beta.
    #[error("process {pid} runs CPython {version}, which memlens does not know")]
    Unknown {
        /// The process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// A build without the GIL.
    #[error("process {0} runs a free-threaded CPython, whose heap memlens cannot read yet")]
    FreeThreaded(u32),
    /// `PYTHON_DISABLE_REMOTE_DEBUG`, `-X disable-remote-debug`, or a build without it.
    #[error("process {0} has remote debugging disabled (PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug)")]
    Disabled(u32),
    /// The interpreter has not begun or is at its end.
    #[error("process {0} has no Python thread: it is starting or ending")]
    NoThread(u32),
    /// A script's path has no room.
    #[error("the path {0} is too long for CPython's request")]
    PathTooLong(String),
    /// A thread did not stop within two seconds, or somebody else traces the process.
    #[error(
        "process {0} cannot be stopped for a moment: a debugger is attached to it, or one of its threads hangs in the kernel"
    )]
    NotStoppable(u32),
    /// The process's memory could not be read or written.
    #[error("cannot read process {pid}: {source}")]
    Memory {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}
