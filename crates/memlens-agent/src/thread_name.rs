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
    node: u32,
    uses: u32,
}

impl ThreadName {
    /// Not yet asked for.
    pub const UNKNOWN: Self = Self { node: NODE_ROOT, uses: 0 };

    /// The node of the calling thread's name; the root for the main thread, and if there is no room for more.
    #[inline]
    pub fn node(&mut self) -> u32 {
        self.uses = self.uses.wrapping_add(1);
        if self.uses.is_power_of_two() {
            self.node = read_node().unwrap_or(self.node);
        }
        self.node
    }
}

#[cold]
#[inline(never)]
fn read_node() -> Option<u32> {
    if agent::is_main_thread() {
        return None;
    }
    let mut buffer = [0; NAME_BYTES];
    let name = read_name(&mut buffer)?;
    agent::with_cold(|cold| {
        let code = cold.interner.name(&mut cold.memory, RawText { bytes: name, width: 1 }, WHAT)?;
        cold.interner.node(&mut cold.memory, NODE_ROOT, code, 0)
    })
    .flatten()
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
