//! Where recorded programs announce themselves, and the shared files that they get in return.
//!
//! A Unix socket in the abstract name space (nothing to clean up, no folder to be allowed to write) that keeps message
//! boundaries. Only processes of the same user, or root's, are listened to. Nothing here blocks: a client that connects
//! and says nothing just waits.
use crate::Error;
use memlens_format::shared::{Header, Hello, SHARED_MAGIC, Welcome};
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, ftruncate, memfd_create, seek};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, listen, recv, sendmsg, socket_with, sockopt,
};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::io::IoSlice;
use std::mem::{MaybeUninit, offset_of};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Size of a shared file. It is sparse: only what the agent touches exists.
const FILE_BYTES: u64 = 1 << 40;
/// Smallest size that is worth a try, under a limit on the size of files.
const LEAST_FILE_BYTES: u64 = 64 << 20;
/// What a shared file comes into being by, at the least.
const PAGE_BYTES: u64 = 4096;
/// Most clients that have connected but not yet said anything; beyond it the oldest are dropped.
const MAX_SILENT_CLIENTS: usize = 128;
/// Length of the queue of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens for programs that want to be recorded.
pub struct Server {
    listener: OwnedFd,
    name: String,
    silent: VecDeque<OwnedFd>,
}

/// A program that has said hello and waits for the answer.
pub struct Client {
    socket: OwnedFd,
    /// What it said.
    pub hello: Hello,
    /// Its process id, as this process' name space has it.
    pub pid: u32,
}

/// A file shared with one program.
pub struct SharedFile {
    /// The memfd.
    pub file: OwnedFd,
    /// Its size.
    pub bytes: u64,
}

impl Server {
    /// Starts to listen under a name that nobody can guess.
    pub fn bind() -> Result<Self, Error> {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let name = format!("memlens-{}-{random:016x}", std::process::id());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(Error::Socket)?;
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(Error::Socket)?;
        bind(&listener, &address).map_err(Error::Socket)?;
        listen(&listener, BACKLOG).map_err(Error::Socket)?;
        Ok(Self { listener, name, silent: VecDeque::new() })
    }

    /// The name that programs find in [`memlens_format::shared::COLLECTOR_ENV`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptors to wait on, for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.silent.iter().map(AsFd::as_fd))
    }

    /// Takes in all connections and returns the programs that have said hello.
    pub fn receive(&mut self) -> Vec<Client> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(&self.listener, flags) {
            if is_trusted(&socket) {
                self.silent.push_back(socket);
            }
            if self.silent.len() > MAX_SILENT_CLIENTS {
                self.silent.pop_front();
            }
        }
        let mut clients = Vec::new();
        let mut still_silent = VecDeque::new();
        for socket in self.silent.drain(..) {
            match receive_hello(&socket) {
                Ok(hello) => clients.extend(Client::new(socket, hello)),
                Err(Errno::AGAIN) => still_silent.push_back(socket),
                Err(_) => {}
            }
        }
        self.silent = still_silent;
        clients
    }
}

impl Client {
    fn new(socket: OwnedFd, hello: Hello) -> Option<Self> {
        let pid = sockopt::socket_peercred(&socket).ok()?.pid;
        Some(Self { socket, hello, pid: pid.as_raw_nonzero().get().unsigned_abs() })
    }

    /// Tells the program to record into `file`, with `wishes` (`WELCOME_*` constants of [`memlens_format::shared`]).
    pub fn accept(&self, file: &SharedFile, wishes: u32) -> Result<(), Error> {
        let bytes = encode_welcome(1, wishes, file.bytes);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).map_err(Error::Socket)?;
        Ok(())
    }

    /// Tells the program to stay unrecorded. Should it have gone, that is as well.
    pub fn decline(&self) {
        let bytes = encode_welcome(0, 0, 0);
        let _ = rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL);
    }
}

impl SharedFile {
    /// Makes a file of [`FILE_BYTES`], or as large as a limit on the size of files allows. Its size is sealed: nobody who
    /// holds it can pull pages away from under a reader.
    ///
    /// Where the limit is smaller, the kernel sends SIGXFSZ with the refusal: the caller must have that signal ignored.
    pub fn new() -> Result<Self, Error> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("memlens", flags).map_err(Error::SharedFile)?;
        let mut bytes = FILE_BYTES;
        while let Err(error) = ftruncate(&file, bytes) {
            bytes /= 4;
            if bytes < LEAST_FILE_BYTES {
                let is_limit = error == Errno::FBIG;
                return Err(if is_limit { Error::FileSizeLimit(LEAST_FILE_BYTES) } else { Error::SharedFile(error) });
            }
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(Error::SharedFile)?;
        Ok(Self { file, bytes })
    }

    /// The pages of `range` that exist, cut to it: the others are zeros, and to read them through a mapping would make them exist. All of it
    /// where the kernel does not tell.
    ///
    /// It asks for each page: to ask for the next hole, the kernel walks on through all that is written, wherever `range` ends.
    pub fn written(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut next = range.start;
        std::iter::from_fn(move || {
            if next >= range.end {
                return None;
            }
            let start = match seek(&self.file, SeekFrom::Data(next)) {
                Ok(start) => start.max(next),
                Err(Errno::NXIO) => range.end,
                Err(_) => next,
            };
            next = (start + 1).next_multiple_of(PAGE_BYTES).min(range.end);
            (start < range.end).then_some(start..next)
        })
    }

    /// Bytes that exist of the file: what it adds to the resident set of whoever has touched all of it.
    pub fn resident_bytes(&self) -> u64 {
        rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_blocks as u64 * 512)
    }
}

const _: () = assert!(size_of::<Header>() as u64 <= LEAST_FILE_BYTES);

/// The same user, or root. (To root, only root.)
fn is_trusted(socket: &OwnedFd) -> bool {
    let Ok(peer) = sockopt::socket_peercred(socket) else {
        return false;
    };
    peer.uid == rustix::process::geteuid() || peer.uid.is_root()
}

/// The message, [`Errno::AGAIN`] while there is none, [`Errno::PROTO`] for anything that is no [`Hello`].
fn receive_hello(socket: &OwnedFd) -> Result<Hello, Errno> {
    let mut buffer = [0u8; size_of::<Hello>() + 1];
    let (length, _) = recv(socket, &mut buffer, RecvFlags::DONTWAIT)?;
    if length != size_of::<Hello>() {
        return Err(Errno::PROTO);
    }
    let magic = u64::from_ne_bytes(buffer[..8].try_into().map_err(|_| Errno::PROTO)?);
    let word = |offset: usize| {
        let bytes = buffer[offset..offset + 4].try_into().map_err(|_| Errno::PROTO)?;
        Ok::<u32, Errno>(u32::from_ne_bytes(bytes))
    };
    let hello = Hello {
        magic,
        version: word(offset_of!(Hello, version))?,
        pid: word(offset_of!(Hello, pid))?,
        parent_pid: word(offset_of!(Hello, parent_pid))?,
        python_version: word(offset_of!(Hello, python_version))?,
        python_kind: word(offset_of!(Hello, python_kind))?,
        abilities: word(offset_of!(Hello, abilities))?,
    };
    if hello.magic == SHARED_MAGIC { Ok(hello) } else { Err(Errno::PROTO) }
}

/// A [`Welcome`] as its bytes in memory.
fn encode_welcome(accept: u32, wishes: u32, file_bytes: u64) -> [u8; size_of::<Welcome>()] {
    let mut bytes = [0; size_of::<Welcome>()];
    let mut put = |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
    put(offset_of!(Welcome, magic), &SHARED_MAGIC.to_ne_bytes());
    put(offset_of!(Welcome, accept), &accept.to_ne_bytes());
    put(offset_of!(Welcome, wishes), &wishes.to_ne_bytes());
    put(offset_of!(Welcome, file_bytes), &file_bytes.to_ne_bytes());
    bytes
}
