//! The names of threads, which stand in the place of a stack where no Python frame is running.
//!
//! A thread gets its name from its creator, or gives it to itself, mostly soon after it began; there is no event of that. So the
//! name is read (prctl(2), a tenth of a microsecond) at a thread's first, second, fourth, eighth, ... event outside all Python frames.
use crate::agent;
use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use memlens_format::shared::NODE_ROOT;
use memlens_recorder::intern::RawText;

/// Where a file would stand.
const WHAT: &str = "<thread>";
/// A thread that nobody named has its process' name.
const UNNAMED: &[u8] = b"(unnamed)";
/// `TASK_COMM_LEN` (include/linux/sched.h).
const NAME_BYTES: usize = 16;

/// A thread's name as a node of the call tree.
pub struct ThreadName {
    /// Its record, or 0 of the main thread, which has none.
    code: u32,
    /// Its node, and the node below that.
    node: u32,
    below: u32,
    uses: u32,
}

impl ThreadName {
    /// Not yet asked for.
    pub const UNKNOWN: Self = Self { code: 0, node: NODE_ROOT, below: NODE_ROOT, uses: 0 };

    /// The node of the calling thread's name above `below`; the root for the main thread, and if there is no room for more.
    #[inline]
    pub fn node(&mut self, below: u32) -> u32 {
        self.uses = self.uses.wrapping_add(1);
        if self.uses.is_power_of_two() {
            self.read(below);
        } else if below != self.below {
            self.rest_on(below);
        }
        self.node
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self, below: u32) {
        if agent::is_main_thread() {
            return;
        }
        let mut buffer = [0; NAME_BYTES];
        let Some(name) = read_name(&mut buffer) else { return };
        let text = RawText { bytes: name, width: 1 };
        if let Some(code) = agent::with_cold(|cold| cold.interner.name(&mut cold.memory, text, WHAT)).flatten() {
            self.code = code;
            self.rest_on(below);
        }
    }

    #[cold]
    #[inline(never)]
    fn rest_on(&mut self, below: u32) {
        if self.code == 0 {
            return;
        }
        let node = agent::with_cold(|cold| cold.interner.node(&mut cold.memory, below, self.code, 0)).flatten();
        (self.node, self.below) = (node.unwrap_or(self.node), below);
    }
}

/// The thread's own name, or [`UNNAMED`] if it is the program's.
fn read_name(buffer: &mut [u8; NAME_BYTES]) -> Option<&[u8]> {
    ask(buffer)?;
    let is_programs = words(buffer) == [PROGRAM[0].load(Relaxed), PROGRAM[1].load(Relaxed)];
    Some(if is_programs { UNNAMED } else { CStr::from_bytes_until_nul(buffer).ok()?.to_bytes() })
}

/// The name of the thread that began the recording.
static PROGRAM: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The calling thread begins a recording: its name is the program's.
pub fn begin() {
    let mut buffer = [0; NAME_BYTES];
    if ask(&mut buffer).is_some() {
        PROGRAM.iter().zip(words(&buffer)).for_each(|(place, word)| place.store(word, Relaxed));
    }
}

fn ask(buffer: &mut [u8; NAME_BYTES]) -> Option<()> {
    // SAFETY: the kernel writes at most 16 bytes, the last of them NUL.
    let status = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_NAME, buffer.as_mut_ptr()) };
    (status == 0).then_some(())
}

fn words(buffer: &[u8; NAME_BYTES]) -> [u64; 2] {
    let number = u128::from_ne_bytes(*buffer);
    [number as u64, (number >> 64) as u64]
}
