//! What can go wrong while collecting.
use rustix::io::Errno;

/// Why the collector cannot do its work. Whatever a *recorded program* does wrong is not among these: it is counted, and
/// said in the capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket that programs connect to could not be made.
    #[error("no socket for the recorded program to connect to: {0}")]
    Socket(Errno),
    /// The file that is shared with a program could not be made.
    #[error("no shared memory for the recorded program (memfd_create): {0}")]
    SharedFile(Errno),
    /// The limit on the size of files is below what the shared tables need at least.
    #[error("the limit on the size of files (ulimit -f) leaves no room for the shared tables, which need {} MiB", .0 >> 20)]
    FileSizeLimit(u64),
    /// The shared file could not be mapped.
    #[error("the shared memory cannot be mapped: {0}")]
    Mapping(Errno),
    /// A process cannot be watched.
    #[error("process {pid} cannot be watched (pidfd_open): {source}")]
    Watch {
        /// The process.
        pid: u32,
        /// Why.
        source: Errno,
    },
    /// Waiting for events failed.
    #[error("waiting for the recorded program failed: {0}")]
    Wait(Errno),
}
