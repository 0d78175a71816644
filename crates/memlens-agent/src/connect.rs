//! How it begins: the agent asks the collector for the shared file.
use crate::process_memory::{ProcessMemory, map};
use crate::{end_notice, python, task};
use core::mem::{MaybeUninit, size_of, zeroed};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libc::{c_int, c_void};
use memlens_format::shared::{
    COLLECTOR_ENV, HELLO_HAS_GIL, HELLO_READS_TASKS, Head, Header, Hello, SHARED_MAGIC, SHARED_VERSION, STATUS_FAILED,
    WELCOME_END_NOTICE, WELCOME_TASKS, Welcome,
};

/// How long the collector may take to answer. It sits in a poll loop; a longer silence means that it is stopped or dead.
const PATIENCE_S: i64 = 5;

/// The process that this memory was recorded in last: in a forked child the one that forked it, whoever has adopted the child since.
static RECORDED: AtomicU32 = AtomicU32::new(0);

/// A descriptor that closes itself.
struct Descriptor(c_int);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// A question that the collector has not answered yet.
pub struct Asked {
    socket: Descriptor,
}

/// Asks the collector that the environment names, if any, for the shared file. It takes a fifth of a millisecond to answer.
pub fn ask(python: &python::Found) -> Option<Asked> {
    let socket = open_socket()?;
    // SAFETY: neither call has preconditions.
    let (pid, adopter) = unsafe { (libc::getpid() as u32, libc::getppid() as u32) };
    let parent_pid = match RECORDED.swap(pid, Relaxed) {
        0 => adopter,
        forker => forker,
    };
    let hello = Hello {
        magic: SHARED_MAGIC,
        version: SHARED_VERSION,
        pid,
        parent_pid,
        python_version: python.version,
        python_kind: python.kind,
        abilities: if task::can_be_told(python) { HELLO_READS_TASKS } else { 0 }
            | if python.is_free_threaded { 0 } else { HELLO_HAS_GIL },
    };
    // SAFETY: `hello` is plain data of that size.
    let sent = unsafe { libc::send(socket.0, (&raw const hello).cast(), size_of::<Hello>(), libc::MSG_NOSIGNAL) };
    (sent == size_of::<Hello>() as isize).then_some(Asked { socket })
}

impl Asked {
    /// Waits for the answer, and maps the head of the file in `memory` if there is one.
    pub fn answer(self, memory: &mut ProcessMemory) -> Option<&'static Head> {
        let (welcome, file) = receive(&self.socket)?;
        if welcome.magic != SHARED_MAGIC || welcome.accept != 1 {
            return None;
        }
        task::tell(welcome.wishes & WELCOME_TASKS != 0);
        let file = file?;
        let head = memory.open(file.0, welcome.file_bytes);
        match head {
            Some(head) if welcome.wishes & WELCOME_END_NOTICE != 0 => end_notice::promise(&head.header),
            Some(_) => {}
            None => say_failed(&file),
        }
        head
    }
}

/// Says so in the file itself, whose header alone may still be mapped: the collector cannot tell else from a process that was killed right now.
fn say_failed(file: &Descriptor) {
    let bytes = size_of::<Header>();
    let Some(header) = map(bytes, libc::MAP_SHARED, file.0) else { return };
    // SAFETY: the mapping is as large as a Header, whose fields are atomics, and nobody else knows of it.
    unsafe {
        header.cast::<Header>().as_ref().status.store(STATUS_FAILED, Relaxed);
        libc::syscall(libc::SYS_munmap, header.as_ptr(), bytes);
    }
}

fn open_socket() -> Option<Descriptor> {
    // SAFETY: the variable's name is NUL-terminated; the value is read at once.
    let name = unsafe {
        let mut key = [0u8; 32];
        key[..COLLECTOR_ENV.len()].copy_from_slice(COLLECTOR_ENV.as_bytes());
        let value = libc::getenv(key.as_ptr().cast());
        if value.is_null() {
            return None;
        }
        core::ffi::CStr::from_ptr(value).to_bytes()
    };
    // SAFETY: a sockaddr_un of zeros is valid.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    if name.is_empty() || name.len() >= address.sun_path.len() {
        return None;
    }
    for (to, from) in address.sun_path[1..].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let length = core::mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    let patience = libc::timeval { tv_sec: PATIENCE_S, tv_usec: 0 };
    // SAFETY: plain system calls on values of the given sizes.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return None;
        }
        let socket = Descriptor(socket);
        for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            let size = size_of::<libc::timeval>() as u32;
            libc::setsockopt(socket.0, libc::SOL_SOCKET, option, (&raw const patience).cast(), size);
        }
        (libc::connect(socket.0, (&raw const address).cast(), length as u32) == 0).then_some(socket)
    }
}

fn receive(socket: &Descriptor) -> Option<(Welcome, Option<Descriptor>)> {
    let mut welcome = MaybeUninit::<Welcome>::zeroed();
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: welcome.as_mut_ptr().cast::<c_void>(), iov_len: size_of::<Welcome>() };
    // SAFETY: a msghdr of zeros is valid; its pointers are set to live buffers of the given sizes.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let received = loop {
            let received = libc::recvmsg(socket.0, &raw mut message, libc::MSG_CMSG_CLOEXEC);
            if received >= 0 || *libc::__errno_location() != libc::EINTR {
                break received;
            }
        };
        if received != size_of::<Welcome>() as isize {
            return None;
        }
        let mut file = None;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        if !head.is_null() && (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
            file = Some(Descriptor(libc::CMSG_DATA(head).cast::<c_int>().read_unaligned()));
        }
        Some((welcome.assume_init(), file))
    }
}
