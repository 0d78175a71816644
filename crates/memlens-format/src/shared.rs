//! The memory that the agent (inside the recorded program) shares with the collector.
//!
//! One sparse file (a memfd that the collector makes) for each recorded process. The agent alone allocates in it, by a
//! bump pointer; the collector only reads, but for [`Header::clock_ns`], [`Header::collector_pid`] and, when it does not wait for it any more, a bit in [`Header::end_notice`]. Everything that
//! refers to something else in the file does so by its *offset*; 0 means "none". Every field that both sides touch is an
//! atomic, read and written relaxed: each figure is whole, but two figures may be one event apart while the program runs.
//! Once the program has ended everything is exact.
//!
//! ```text
//!  0        ┌──────────────────────────────────────────────┐
//!           │ Header                                       │ counters, status, directories
//!           ├──────────────────────────────────────────────┤
//!           │ pieces, in order of need:                    │
//!           │   chunks of NodeRecord   (NODES_PER_CHUNK)   │ the call tree
//!           │   chunks of SiteRecord   (SITES_PER_CHUNK)   │ node + what happened there
//!           │   chunks of CodeRecord   (CODES_PER_CHUNK)   │ code objects, as first seen
//!           │   Lane, chunks of Counters                   │ one lane a writer
//!           │   leaves of the live table                   │ the agent's own business
//!           │   bytes of names, file names, line tables    │
//!           └──────────────────────────────────────────────┘ Header::arena_next
//! ```
//!
//! A *node* is a place in the call tree: the parent node, a code object and a line in it. A *site* is
//! a node plus what was asked there: a block of one [`crate::Allocator`], or a release ([`SITE_KIND_RELEASE`]). A *lane* is
//! a set of counters with one writer at a time: lane 0 belongs to whoever holds the main interpreter's GIL (before there
//! is one, and where there is none: to the main thread), each other lane to one thread that allocates without it. The truth about a site is the
//! sum over the lanes.
use core::mem::offset_of;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// `b"MLENSSHM"`, little-endian: the first eight bytes of the file, written by the agent when the tables are ready.
pub const SHARED_MAGIC: u64 = u64::from_le_bytes(*b"MLENSSHM");
/// Version of this layout. Agent and collector come from one build; a difference means a mixed installation.
pub const SHARED_VERSION: u32 = 5;

/// Records in one chunk of nodes.
pub const NODES_PER_CHUNK: usize = 4096;
/// Records in one chunk of sites; also of one chunk of a lane's [`Counters`], which has the same index.
pub const SITES_PER_CHUNK: usize = 1024;
/// Records in one chunk of code objects.
pub const CODES_PER_CHUNK: usize = 1024;
/// Most chunks of nodes: 2^22 nodes in all.
pub const NODE_CHUNKS: usize = 1024;
/// Most chunks of sites (and of counters in a lane): 2^22 sites in all.
pub const SITE_CHUNKS: usize = 4096;
/// Most chunks of code objects: 2^18 in all.
pub const CODE_CHUNKS: usize = 256;
/// Sites whose counters in lane 0 lie in one piece, behind the header: 16 MiB of addresses, of which what is touched becomes memory. A
/// pandas job of two seconds has 190,000.
pub const NEAR_SITES: usize = 256 * SITES_PER_CHUNK;
/// Words of [`Header::end_notice`].
pub const END_NOTICE_WORDS: usize = 10;
/// In its first word: who held it has ended (the kernel's `FUTEX_OWNER_DIED`).
pub const END_NOTICE_DIED: u32 = 0x4000_0000;
/// Most lanes.
pub const MAX_LANES: usize = 1024;
/// Most [`LibraryRecord`]s. What further libraries map is added to the last.
pub const MAX_LIBRARIES: usize = 64;

/// [`SiteRecord::kind`] of a place where blocks are released. In its [`Counters`], `count` and `bytes` are what was released
/// here, whoever allocated it; the other figures stay 0. Any other kind is an [`crate::Allocator`] discriminant.
pub const SITE_KIND_RELEASE: u32 = 0xff;
/// [`SITE_KIND_RELEASE`] for file-backed mappings, which are never part of the heap.
pub const SITE_KIND_RELEASE_FILE: u32 = 0xfe;

/// Whether a site of this kind is one of releases.
pub const fn is_release(kind: u32) -> bool {
    matches!(kind, SITE_KIND_RELEASE | SITE_KIND_RELEASE_FILE)
}

/// Node 0: the root, above every Python stack. Its record is all zeros.
pub const NODE_ROOT: u32 = 0;
/// [`CodeRecord::kind`]: a code object.
pub const CODE_KIND_PYTHON: u32 = 0;
/// [`CodeRecord::kind`]: a name that stands for no code object, such as a thread's.
pub const CODE_KIND_NAME: u32 = 1;

/// [`Header::status`]: the agent is not ready yet.
pub const STATUS_STARTING: u32 = 0;
/// [`Header::status`]: recording.
pub const STATUS_RECORDING: u32 = 1;
/// [`Header::status`]: the agent could not make its tables, and the program runs unrecorded.
pub const STATUS_FAILED: u32 = 2;
/// The first page(s) of the file.
#[repr(C, align(64))]
pub struct Header {
    /// [`SHARED_MAGIC`] once the tables are ready.
    pub magic: AtomicU64,
    /// [`SHARED_VERSION`].
    pub version: AtomicU32,
    /// One of the `STATUS_*` constants.
    pub status: AtomicU32,
    /// 1 once one of the tables could not grow: what was new from then on is lost.
    pub is_table_full: AtomicU32,
    /// `PY_VERSION_HEX` of the interpreter, 0 while (or if) there is none.
    pub python_version: AtomicU32,
    /// Written by the collector before the agent may start: its process id.
    pub collector_pid: AtomicU32,
    /// 1 once the Python domains are hooked.
    pub python_hooked: AtomicU32,
    /// First byte of the file that the agent has not used yet.
    pub arena_next: AtomicU64,
    /// Unused, 0: what lane 0 needs at each event lies in one cache line.
    pub reserved: [AtomicU64; 3],

    /// Grows by one each time a new peak is left (at the first release after a new maximum). A [`Counters`] whose own
    /// `epoch` is older has not changed since the peak: its live figures are its peak figures.
    pub epoch: AtomicU64,
    /// Largest live heap that has been *left* so far. While the heap stands higher than this, now is the peak.
    pub peak_bytes: AtomicI64,
    /// Written by the collector at each tick: nanoseconds since the recording began. The agent copies it to stamp a peak,
    /// for reading a clock costs more than all else that it does.
    pub clock_ns: AtomicU64,
    /// [`Header::clock_ns`] when that peak was left.
    pub peak_time_ns: AtomicU64,
    /// Live heap of lane 0: allocated minus released, by its writers.
    pub main_live_bytes: AtomicI64,
    /// While lane 0 holds no more than this, the heap is no larger than it was: the peak as long as lane 0 is the only one, then the least there is.
    pub main_known_bytes: AtomicI64,
    /// Unused, 0: what the other lanes write at each event lies in another cache line.
    pub reserved_too: [AtomicU64; 2],

    /// Live heap of all lanes but lane 0, up to 4 KiB a lane behind.
    pub others_bytes: AtomicI64,

    /// Nodes in use, counting the root.
    pub node_count: AtomicU32,
    /// Sites in use, counting site 0, which is none.
    pub site_count: AtomicU32,
    /// Code records in use, counting code 0, which is none.
    pub code_count: AtomicU32,
    /// Lanes in use, counting lane 0.
    pub lane_count: AtomicU32,

    /// Events that could not be recorded (made inside memlens' own cold paths, or while a table was full).
    pub lost_events: AtomicU64,
    /// Bytes of the allocations among them.
    pub lost_bytes: AtomicU64,
    /// Stacks that could not be read; their events are counted at the root.
    pub unreadable_stacks: AtomicU64,
    /// Releases of blocks that were never seen to be allocated (made before the recording began).
    pub unknown_releases: AtomicU64,
    /// Children forked by the program. Each begins a recording of its own with its first event.
    pub forks: AtomicU64,
    /// Estimated time that recording took, in nanoseconds; 0 where it is not known.
    pub overhead_ns: AtomicU64,
    /// Live bytes of file-backed mappings.
    pub file_mapped_bytes: AtomicI64,
    /// Live bytes of mapped shared memory.
    pub shared_mapped_bytes: AtomicI64,
    /// The largest that was.
    pub shared_mapped_peak: AtomicI64,

    /// Allocations that were refused: the allocator had no memory.
    pub refused_count: AtomicU64,
    /// Bytes that the first of the last burst of them asked for.
    pub refused_bytes: AtomicU64,
    /// [`Header::clock_ns`] at the last of them.
    pub refused_time_ns: AtomicU64,
    /// Where the first of the last burst was: a site, or 0.
    pub refused_site: AtomicU32,
    /// Libraries in use.
    pub library_count: AtomicU32,
    /// Libraries that map memory themselves.
    pub libraries: [LibraryRecord; MAX_LIBRARIES],
    /// 1 if the asyncio tasks of this process were to be told apart and could not be.
    pub tasks_unreadable: AtomicU32,
    /// Unused, 0.
    pub reserved_last: AtomicU32,
    /// A robust mutex of the C library's, which the main thread holds while it lives, if it was asked to ([`WELCOME_END_NOTICE`]). The first word is 0 before
    /// it holds it, and has [`END_NOTICE_DIED`] set by the kernel when that thread ends.
    pub end_notice: [AtomicU32; END_NOTICE_WORDS],

    /// Offsets of the chunks.
    pub node_chunks: [AtomicU64; NODE_CHUNKS],
    /// Offsets of the chunks.
    pub site_chunks: [AtomicU64; SITE_CHUNKS],
    /// Offsets of the chunks.
    pub code_chunks: [AtomicU64; CODE_CHUNKS],
    /// Offsets of the [`Lane`]s.
    pub lanes: [AtomicU64; MAX_LANES],
}

/// How the file begins: so that lane 0, which has the header's address, has that of its counters as well.
#[repr(C)]
pub struct Head {
    /// The header.
    pub header: Header,
    /// Lane 0's counters of the first sites.
    pub near: NearCounters,
}

/// [`Head::near`], on pages of its own.
#[repr(C, align(4096))]
pub struct NearCounters(pub [Counters; NEAR_SITES]);

/// A place in the call tree.
#[repr(C)]
pub struct NodeRecord {
    /// The caller's node; [`NODE_ROOT`] for an outermost frame.
    pub parent: AtomicU32,
    /// Index of the [`CodeRecord`].
    pub code: AtomicU32,
    /// The running line; 0 where the instruction has none.
    pub line: AtomicU32,
    /// The node's first site, 0 if it has none: the agent's own business.
    pub first_site: AtomicU32,
}

/// A node plus what was asked there.
#[repr(C)]
pub struct SiteRecord {
    /// Index of the [`NodeRecord`].
    pub node: AtomicU32,
    /// An [`crate::Allocator`] discriminant or one of the `SITE_KIND_*` constants.
    pub kind: AtomicU32,
    /// The next site of the same node, 0 for the last.
    pub next: AtomicU32,
    /// Unused, 0.
    pub reserved: AtomicU32,
}

/// A code object, copied when it was first seen. Equal code objects (same names, file and first line) share a record, so that a program that compiles the same text for ever does not grow the tables.
#[repr(C)]
pub struct CodeRecord {
    /// A `CODE_KIND_*` constant.
    pub kind: AtomicU32,
    /// `co_firstlineno`.
    pub first_line: AtomicU32,
    /// Qualified name (`co_qualname`; before 3.11 `co_name`).
    pub name: Text,
    /// `co_filename`.
    pub file: Text,
}

/// Bytes in the file: a Python string as the interpreter stores it.
#[repr(C)]
pub struct Text {
    /// Offset of the first byte.
    pub offset: AtomicU64,
    /// Number of code points.
    pub length: AtomicU32,
    /// Bytes a code point: 1 is Latin-1, 2 is UCS-2, 4 is UCS-4, native order.
    pub width: AtomicU32,
}

/// What a library has mapped by itself, anonymously: regions out of which it may serve blocks that nobody sees.
#[repr(C)]
pub struct LibraryRecord {
    /// The path of its file, as bytes of width 1.
    pub path: Text,
    /// What is mapped now.
    pub live_bytes: AtomicU64,
    /// The most that was mapped at a time.
    pub peak_bytes: AtomicU64,
    /// The most of it that was seen to be resident. The agent looks (`mincore`) when what is mapped has grown by a
    /// sixteenth since the last look, and when the program exits.
    pub resident_bytes: AtomicU64,
    /// What was mapped at the last look; 0 before the first that told anything.
    pub looked_bytes: AtomicU64,
}

/// The head of a lane.
#[repr(C, align(64))]
pub struct Lane {
    /// Live bytes: allocated minus released, by this lane's writers. Other lanes may hold the other half. Of lane 0 see
    /// [`Header::main_live_bytes`].
    pub live_bytes: AtomicI64,
    /// The part of `live_bytes` that is already in [`Header::others_bytes`] (lanes other than 0).
    pub published_bytes: AtomicI64,
    /// The writer's thread id, or 0 while nobody has the lane (lane 0: always 0).
    pub thread: AtomicU32,
    /// Unused, 0.
    pub reserved: AtomicU32,
    /// Offsets of the chunks of [`Counters`], by site; 0 where this lane never touched one of those sites.
    pub chunks: [AtomicU64; SITE_CHUNKS],
}

/// What one lane knows about one site. One cache line.
#[repr(C, align(64))]
pub struct Counters {
    /// Allocations (a `realloc` is one). For a release site: releases.
    pub count: AtomicU64,
    /// Bytes asked for. For a release site: bytes released.
    pub bytes: AtomicU64,
    /// Bytes of this site's blocks that are gone. What is live is the difference, negative where this lane releases what
    /// another allocated: so an allocation changes two figures, not four.
    pub gone_bytes: AtomicU64,
    /// Bytes live at the peak of `epoch`.
    pub peak_bytes: AtomicI64,
    /// Blocks of this site that are gone (wraps).
    pub gone_count: AtomicU32,
    /// Blocks live at the peak of `epoch` (wraps).
    pub peak_count: AtomicI32,
    /// [`Header::epoch`] when this was last touched.
    pub epoch: AtomicU64,
    /// Blocks released before the same thread's next allocation.
    pub temporary_count: AtomicU64,
    /// Their bytes.
    pub temporary_bytes: AtomicU64,
}

impl Counters {
    /// Blocks (wraps) and bytes now live. Means nothing for a release site.
    #[inline(always)]
    pub fn live(&self) -> (i32, i64) {
        (self.live_count(), self.live_bytes())
    }

    /// Blocks now live (wraps).
    #[inline(always)]
    pub fn live_count(&self) -> i32 {
        (self.count.load(Relaxed) as u32).wrapping_sub(self.gone_count.load(Relaxed)) as i32
    }

    /// Bytes now live.
    #[inline(always)]
    pub fn live_bytes(&self) -> i64 {
        self.bytes.load(Relaxed).wrapping_sub(self.gone_bytes.load(Relaxed)) as i64
    }
}

const _: () = assert!(offset_of!(Header, epoch) == 64 && offset_of!(Header, others_bytes) == 128);
const _: () = assert!(offset_of!(Header, end_notice).is_multiple_of(8));
const _: () = assert!(size_of::<NodeRecord>() == 16);
const _: () = assert!(size_of::<SiteRecord>() == 16);
const _: () = assert!(size_of::<CodeRecord>() == 40);
const _: () = assert!(size_of::<Counters>() == 64);

/// What the agent says to the collector when it connects (one message on a `SOCK_SEQPACKET` Unix socket in the abstract
/// name space, whose name without the leading NUL stands in the environment variable [`COLLECTOR_ENV`]). The collector
/// answers with one [`Welcome`] and, if it accepts, the shared file's descriptor (`SCM_RIGHTS`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    /// [`SHARED_MAGIC`].
    pub magic: u64,
    /// [`SHARED_VERSION`].
    pub version: u32,
    /// The process.
    pub pid: u32,
    /// Its parent.
    pub parent_pid: u32,
    /// `PY_VERSION_HEX`, or 0 where no CPython was found in the process (yet).
    pub python_version: u32,
    /// `PYTHON_*`: what was found.
    pub python_kind: u32,
    /// `HELLO_*`: what the agent can do with it.
    pub abilities: u32,
}

/// [`Hello::python_kind`]: no interpreter in this process.
pub const PYTHON_NONE: u32 = 0;
/// [`Hello::python_kind`]: a CPython whose frames this agent can read.
pub const PYTHON_SUPPORTED: u32 = 1;
/// [`Hello::python_kind`]: a CPython that this agent does not know.
pub const PYTHON_UNSUPPORTED: u32 = 2;
/// [`Hello::python_kind`]: a free-threaded CPython whose structures are not those that this agent knows of its version.
pub const PYTHON_FREE_THREADED: u32 = 3;
/// [`Hello::python_kind`]: another implementation of Python (PyPy, GraalPy).
pub const PYTHON_OTHER: u32 = 4;

/// [`Hello::abilities`]: the agent knows where this interpreter keeps the running asyncio task.
pub const HELLO_READS_TASKS: u32 = 1;
/// [`Hello::abilities`]: the interpreter has a GIL, whose holders write lane 0: there are next to no sites that lane 0 has not touched.
pub const HELLO_HAS_GIL: u32 = 2;

/// The collector's answer to a [`Hello`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Welcome {
    /// [`SHARED_MAGIC`].
    pub magic: u64,
    /// 1: record; the descriptor comes with this message. 0: stay off.
    pub accept: u32,
    /// `WELCOME_*`: what is asked for beyond the ordinary.
    pub wishes: u32,
    /// Size of the shared file in bytes.
    pub file_bytes: u64,
}

/// [`Welcome::wishes`]: what asyncio tasks allocate is to be told apart, by the task's name as the outermost frame.
pub const WELCOME_TASKS: u32 = 1;
/// [`Welcome::wishes`]: the kernel is to say when the main thread ends ([`Header::end_notice`]).
pub const WELCOME_END_NOTICE: u32 = 2;

/// Name of the environment variable that names the collector's socket.
pub const COLLECTOR_ENV: &str = "MEMLENS_COLLECTOR";
