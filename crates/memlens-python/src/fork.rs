//! The walk in a forked child: the program stands still only while it forks.
//!
//! The child has a copy of the program's memory at one moment. It reads it without writing to it (no reference count is touched), so
//! that the kernel copies next to none of its pages, hands the graph over in a file in memory, and ends by `_exit`: nothing of
//! the program's runs in it. Asked from outside ([`to_file`]), the program does not even wait for the child.
use crate::heap::{self, Caller};
use crate::interpreter::Interpreter;
use memlens_heap::{Graph, Meta};
use pyo3::prelude::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// A child that takes longer than this many seconds is stuck.
const TIME_LIMIT_S: u32 = 900;

/// The graph, and how long the program stood still.
pub fn graph(
    python: Python<'_>,
    interpreter: &'static Interpreter,
    meta: Meta,
    caller: &Caller,
) -> Result<(Graph, Duration), String> {
    let mut file = memory_file()?;
    let (mut ended, child_end) = pipe()?;
    let start = Instant::now();
    match fork()? {
        None => in_child(python, interpreter, meta, caller, file),
        Some(child) => {
            let pause = start.elapsed();
            drop(child_end);
            python.detach(|| wait(child, &mut ended));
            Ok((read_back(&mut file)?, pause))
        }
    }
}

/// Forks; nothing in the child.
fn fork() -> Result<Option<libc::pid_t>, String> {
    // SAFETY: the child calls only what reads memory, the C library's allocator (which is fit for it) and system calls.
    match unsafe { libc::fork() } {
        -1 => Err(format!("cannot fork: {}", std::io::Error::last_os_error())),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Has a child write the snapshot's file into a folder, for somebody who waits there: `walking`, which the child holds locked
/// (flock(2)) while it lives, then `snapshot` or `error`. Returns when the child has begun.
pub fn to_file(python: Python<'_>, meta: Meta, caller: &Caller, folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
    let lock = File::create(folder.join("walking.new")).map_err(failed)?;
    // SAFETY: a plain system call on a descriptor of ours. The lock is the file's: the child inherits it.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    std::fs::rename(folder.join("walking.new"), folder.join("walking")).map_err(failed)?;
    match fork()? {
        None => {
            end_in_time();
            let saved = save(python, meta, caller, &folder.join("part")).map(|()| "snapshot");
            let name = saved.or_else(|message| std::fs::write(folder.join("part"), message).map(|()| "error"));
            let told = name.and_then(|name| std::fs::rename(folder.join("part"), folder.join(name)));
            // SAFETY: ends the process at once, and with it the lock.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
        Some(child) => {
            reap_later(child);
            Ok(())
        }
    }
}

fn save(python: Python<'_>, meta: Meta, caller: &Caller, path: &Path) -> Result<(), String> {
    // Found in the child, so that nothing of it stays with the program.
    let interpreter = crate::interpreter(python).map_err(|error| error.to_string())?;
    let graph = heap::graph(python, interpreter, meta, caller).map_err(|error| error.to_string())?;
    let mut file = File::create(path).map_err(|error| error.to_string())?;
    graph.save(&mut file).map_err(|error| error.to_string())
}

/// Waits for the child in a thread that handles no signal, so that no dead process stays in the kernel's table.
fn reap_later(child: libc::pid_t) {
    // SAFETY: both sets are initialised by the calls that they are passed to; the mask of this thread is put back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        // Without such a thread the child is reaped when the program waits for its children, or ends.
        let _ = std::thread::Builder::new().name("memlens".into()).stack_size(64 << 10).spawn(move || {
            libc::waitpid(child, std::ptr::null_mut(), 0);
        });
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    }
}

/// Lets an alarm end the child that is stuck.
fn end_in_time() {
    // SAFETY: plain system calls; a signal's handler in the interpreter only notes it, so that the alarm must end us itself.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(TIME_LIMIT_S);
    }
}

/// Ends the process. What is written first says how it went: 1 before a graph, 0 before a message.
fn in_child(python: Python<'_>, interpreter: &Interpreter, meta: Meta, caller: &Caller, mut file: File) -> ! {
    end_in_time();
    let outcome = heap::graph(python, interpreter, meta, caller).map_err(|error| error.to_string());
    let written = match outcome {
        Ok(graph) => file.write_all(&[1]).is_ok() && graph.save(&mut file).is_ok(),
        Err(message) => file.write_all(&[0]).is_ok() && file.write_all(message.as_bytes()).is_ok(),
    };
    // SAFETY: ends the process at once; nothing of the program's is to run in it.
    unsafe { libc::_exit(i32::from(!written)) }
}

fn memory_file() -> Result<File, String> {
    // SAFETY: the name is a C string; the result is a descriptor of ours or -1.
    let descriptor = unsafe { libc::memfd_create(c"memlens-snapshot".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(format!("cannot make a file in memory: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the descriptor is ours.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// The reading end, and the end whose closing says that the child is gone.
fn pipe() -> Result<(File, OwnedFd), String> {
    let mut ends = [0; 2];
    // SAFETY: two descriptors have room in the array.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(format!("cannot make a pipe: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: both descriptors are ours.
    Ok(unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Waits until the child is gone. The program may itself wait for children and take ours: the pipe tells all the same.
fn wait(child: libc::pid_t, ended: &mut File) {
    let mut nothing = [0];
    // The end of the file, or an error that means the same.
    while matches!(ended.read(&mut nothing), Ok(count) if count > 0) {}
    // SAFETY: reaps our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

fn read_back(file: &mut File) -> Result<Graph, String> {
    let failed = |error: std::io::Error| format!("cannot read what the forked child wrote: {error}");
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut kind = [0];
    if length == 0 || file.read_exact(&mut kind).is_err() {
        return Err("the forked child ended without an answer".into());
    }
    if kind[0] == 0 {
        let mut message = String::new();
        file.read_to_string(&mut message).map_err(failed)?;
        return Err(message);
    }
    let name = format!("the forked child's descriptor {}", file.as_raw_fd());
    memlens_heap::read(&mut *file, length - 1, Path::new(&name)).map_err(|error| error.to_string())
}
