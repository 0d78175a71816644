//! The capture: what a recording leaves behind.
//!
//! This is the model in memory. [`encode_section`] and [`Decoder`] turn it into the payloads of sections and back;
//! [`container`] has the layout of the file that holds the sections. Compression and files are not for this crate.
use crate::Allocator;
use alloc::string::String;
use alloc::vec::Vec;

pub mod container;
mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod varint;

pub use container::Section;
pub use decode::{DecodeError, DecodeErrorKind, Decoder, MAX_ROWS};
pub use encode::encode_section;

/// Index into [`Capture::strings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StringId(pub u32);
/// Index into [`Capture::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u32);
/// Index into [`Capture::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);
/// Index into [`Capture::sites`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u32);

/// A whole recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capture {
    /// What was recorded, how, and what was not seen.
    pub meta: Meta,
    /// The processes; the first is the one that `run` started.
    pub processes: Vec<Process>,
    /// Function and file names, each once.
    pub strings: Vec<String>,
    /// Distinct (function, file, line).
    pub frames: Vec<Frame>,
    /// The call tree, parents before children.
    pub nodes: Vec<Node>,
    /// Stack plus allocator.
    pub sites: Vec<Site>,
    /// What was released where.
    pub releases: Vec<Release>,
    /// Changes of the sites over time, in order of time.
    pub slices: Vec<Slice>,
    /// The whole program over time, in order of time.
    pub timeline: Vec<Point>,
    /// What libraries mapped by themselves.
    pub regions: Vec<Region>,
}

/// What was recorded, how, and what was not seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// The command as the user would type it: script (or `-m`, module, or `-c`, code) and arguments.
    pub command: Vec<String>,
    /// Path of the interpreter.
    pub interpreter: String,
    /// Its version ("3.12.1"), empty if no Python came up.
    pub python_version: String,
    /// Version of memlens that recorded.
    pub memlens_version: String,
    /// Working directory at the start.
    pub working_directory: String,
    /// Nanoseconds since the Unix epoch when the recording began.
    pub started_unix_ns: u64,
    /// Length of the recording.
    pub duration_ns: u64,
    /// How the program ended.
    pub exit: Exit,
    /// False if something is missing: a table could not grow, or the capture was cut short.
    pub complete: bool,
    /// Why not, in words; empty if complete.
    pub incomplete_reason: String,
    /// Largest live heap, in bytes, over all allocators that count as heap.
    pub peak_bytes: u64,
    /// When, since the start.
    pub peak_time_ns: u64,
    /// Largest resident set seen, memlens' own tables left out.
    pub rss_peak_bytes: u64,
    /// The same with each page counted once that several processes share: the largest [`Point::pss_bytes`]. 0 where it is not known.
    pub pss_peak_bytes: u64,
    /// Largest live total of file-backed mappings, never part of the heap.
    pub file_mapped_bytes: u64,
    /// Largest total of mapped shared memory, neither file nor heap; the sum over the processes, each of which counts what it maps.
    pub shared_mapped_bytes: u64,
    /// What could not be seen.
    pub unseen: Unseen,
    /// Estimated time that recording took; 0 where it is not known.
    pub overhead_ns: u64,
    /// What is known of the want of memory that ended the program; `None` if that was not its end.
    pub shortage: Option<Shortage>,
}

/// A want of memory, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// The bound that was met, in words that follow "limit": "of the control group"; empty if it is not known.
    pub bound: String,
    /// That bound in bytes; 0 if it is not known.
    pub limit_bytes: u64,
    /// Processes that the kernel killed for want of memory.
    pub killed: u64,
    /// Allocations that were refused.
    pub refused: u64,
    /// Bytes that the first of the last burst of them asked for.
    pub refused_bytes: u64,
    /// When the kernel killed or the last allocation was refused, since the start.
    pub time_ns: u64,
    /// Where that one was asked for: function, file and line, innermost first.
    pub refused_stack: Vec<(String, String, u32)>,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit status, if it ended by itself.
    pub code: Option<i32>,
    /// Signal number, if one ended it.
    pub signal: Option<i32>,
    /// It ended for want of memory: [`Meta::shortage`] says more.
    pub out_of_memory: bool,
}

/// What could not be seen: counted, never left out in silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Events that were not recorded.
    pub lost_events: u64,
    /// Bytes of the allocations among them.
    pub lost_bytes: u64,
    /// Stacks that could not be read.
    pub unreadable_stacks: u64,
    /// Releases of blocks that were never seen to be allocated.
    pub unknown_releases: u64,
    /// Child processes that were not recorded.
    pub unrecorded_processes: u64,
}

/// One recorded process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its parent's.
    pub parent_pid: u32,
    /// Its command line.
    pub command: Vec<String>,
    /// Largest live heap.
    pub peak_bytes: u64,
    /// Largest resident set, memlens' own tables left out.
    pub rss_peak_bytes: u64,
}

/// Memory that a library mapped by itself and may have served blocks from that were not seen: sites have its mappings, not its blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Index into [`Capture::processes`].
    pub process: u32,
    /// Path of the library's file.
    pub library: String,
    /// The most that was mapped at a time.
    pub mapped_bytes: u64,
    /// The most of it that was seen to be resident; `None` where nobody looked.
    pub resident_bytes: Option<u64>,
}

/// A line of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// Qualified name of the function.
    pub function: StringId,
    /// Path as the code object has it.
    pub file: StringId,
    /// Line, 0 if there is none.
    pub line: u32,
    /// First line of the function.
    pub first_line: u32,
}

/// A place in the call tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The caller; `None` for an outermost frame. Always a smaller index than the node's own.
    pub parent: Option<NodeId>,
    /// The line.
    pub frame: FrameId,
}

/// A stack plus the allocator, in one process, with its figures over the whole recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Index into [`Capture::processes`].
    pub process: u32,
    /// The innermost frame; `None` where no Python frame was running.
    pub node: Option<NodeId>,
    /// What was asked.
    pub allocator: Allocator,
    /// Allocations.
    pub allocations: u64,
    /// Bytes asked for by them.
    pub allocated_bytes: u64,
    /// Blocks still live at the end.
    pub live_count: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Blocks live at the peak (of the heap; for a file-backed mapping: at that same moment).
    pub peak_count: u64,
    /// Their bytes.
    pub peak_bytes: u64,
    /// Blocks released before the same thread's next allocation.
    pub temporary_count: u64,
    /// Their bytes.
    pub temporary_bytes: u64,
}

/// What was released at a place, whoever allocated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Index into [`Capture::processes`].
    pub process: u32,
    /// The innermost frame; `None` where no Python frame was running.
    pub node: Option<NodeId>,
    /// Releases.
    pub count: u64,
    /// Bytes released.
    pub bytes: u64,
    /// Whether these were file-backed mappings, which are not heap.
    pub is_file: bool,
}

/// What the sites did between the previous slice's time and this one's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// End of the slice, since the start.
    pub time_ns: u64,
    /// The sites that changed, in order of their ids.
    pub changes: Vec<Change>,
}

/// What one site did in one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The site.
    pub site: SiteId,
    /// New allocations.
    pub allocations: u64,
    /// Bytes asked for by them.
    pub allocated_bytes: u64,
    /// Change of the number of live blocks.
    pub live_count: i64,
    /// Change of the live bytes.
    pub live_bytes: i64,
}

/// The whole program at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Since the start.
    pub time_ns: u64,
    /// Live heap.
    pub live_bytes: u64,
    /// Resident set, memlens' own tables left out.
    pub rss_bytes: u64,
    /// The same with each page counted once that several processes share (the sum of proportional set sizes). 0 where it is not known.
    pub pss_bytes: u64,
}
