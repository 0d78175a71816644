//! What an interpreter says of itself: `_PyRuntime` begins with `_Py_DebugOffsets` since 3.13.
//!
//! Our own offsets are constants, so that they stand in the instructions of the walk. Here they are held against those that the running
//! interpreter publishes (`Include/internal/pycore_runtime.h` in 3.13, `pycore_debug_offsets.h` after that): a build that differs, or one
//! that has no such structure, is refused.
use crate::layout::{
    CodeOffsets, FrameOffsets, Layout, V313, V313FreeThreaded, V314, V314FreeThreaded, V315, V315FreeThreaded, read,
};
use core::ffi::c_void;

/// What `_PyRuntime.debug_offsets` says of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugOffsets {
    /// The offsets are those of the layout of its minor version.
    Agree,
    /// The same, of a build without the GIL.
    AgreeFreeThreaded,
    /// No cookie, another version than the interpreter's own, or other offsets than ours.
    Differ,
    /// Other offsets than ours, of a build without the GIL.
    DifferFreeThreaded,
}

const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
/// Words of the structure that are read at most: 3.15's strings end at 94.
const WORDS: usize = 94;

/// At which word of the structure each part begins. The first word of a part is the size of what it describes.
struct Parts {
    thread_state: usize,
    /// In the thread state's part: `thread_id`.
    thread_id: usize,
    frame: usize,
    code: usize,
    /// In the code object's part: `co_code_adaptive`.
    code_adaptive: usize,
    object: usize,
    bytes: usize,
    text: usize,
}

const PARTS_313: Parts =
    Parts { thread_state: 19, thread_id: 5, frame: 28, code: 34, code_adaptive: 9, object: 44, bytes: 64, text: 67 };
const PARTS_314: Parts =
    Parts { thread_state: 22, thread_id: 5, frame: 31, code: 39, code_adaptive: 9, object: 50, bytes: 74, text: 77 };
const PARTS_315: Parts =
    Parts { thread_state: 22, thread_id: 8, frame: 39, code: 47, code_adaptive: 9, object: 58, bytes: 86, text: 89 };

/// Words of the structure that [`Requests::of`] takes: 3.15's `debugger_support` ends there.
pub const REQUEST_WORDS: usize = 111;

/// Where an interpreter takes a debugger's requests to run a script (PEP 768), in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// In `_PyRuntime`: the newest interpreter.
    pub interpreters: u64,
    /// In an interpreter: its number (64 bits; the main one's is 0).
    pub interpreter_id: u64,
    /// In an interpreter: the next older one.
    pub next_interpreter: u64,
    /// In an interpreter: its newest thread.
    pub threads: u64,
    /// In an interpreter: whether it takes requests (32 bits, 1 for yes).
    pub is_enabled: u64,
    /// In a thread: the next older one.
    pub next_thread: u64,
    /// In a thread: bits that the evaluation loop looks at.
    pub eval_breaker: u64,
    /// In a thread: whether a request waits (32 bits, 1 for yes).
    pub is_pending: u64,
    /// In a thread: the script's path, ended by a zero.
    pub path: u64,
    /// Bytes for the path, the zero among them.
    pub path_bytes: u64,
}

/// What the first two words of `_PyRuntime` say: `PY_VERSION_HEX`, if there is a structure at all (3.13 and newer).
pub fn version_of(words: [u64; 2]) -> Option<u32> {
    (words[0] == COOKIE).then(|| u32::try_from(words[1]).ok())?
}

impl Requests {
    /// What `_PyRuntime` publishes; nothing for a version that takes no requests or that is not known.
    pub fn of(words: &[u64; REQUEST_WORDS]) -> Option<Self> {
        let support = match version_of([words[0], words[1]])? >> 16 {
            0x030e => 89,
            0x030f => 105,
            _ => return None,
        };
        let in_thread = words[support + 1];
        let requests = Self {
            interpreters: words[5],
            interpreter_id: words[7],
            next_interpreter: words[8],
            threads: words[9],
            next_thread: words[24],
            eval_breaker: words[support],
            is_enabled: words[support + 2],
            is_pending: in_thread + words[support + 3],
            path: in_thread + words[support + 4],
            path_bytes: words[support + 5],
        };
        // `MAX_SCRIPT_PATH_SIZE` of Include/cpython/pystate.h, behind a flag of 32 bits.
        (requests.path_bytes == 512 && requests.path == requests.is_pending + 4).then_some(requests)
    }
}

/// Holds our offsets against those that the interpreter publishes. A version before 3.13 publishes none and always differs.
///
/// # Safety
/// `runtime` must be the address of `_PyRuntime` of an interpreter whose `PY_VERSION_HEX` is `version_hex`.
pub unsafe fn compare(runtime: *const c_void, version_hex: u32) -> DebugOffsets {
    let minor = version_hex >> 16 & 0xff;
    if minor < V313::MINOR {
        return DebugOffsets::Differ;
    }
    // SAFETY: since 3.13 `_PyRuntime` begins with the structure, and is far longer than this.
    let words: [u64; WORDS] = unsafe { read(runtime, 0) };
    if words[0] != COOKIE || words[1] != u64::from(version_hex) {
        return DebugOffsets::Differ;
    }
    let is_free_threaded = words[2] != 0;
    let agree = match minor {
        13 if is_free_threaded => agree::<V313FreeThreaded>(&words, &PARTS_313, &V313FreeThreaded::FRAME),
        14 if is_free_threaded => agree::<V314FreeThreaded>(&words, &PARTS_314, &V314FreeThreaded::FRAME),
        15 if is_free_threaded => agree::<V315FreeThreaded>(&words, &PARTS_315, &V315FreeThreaded::FRAME),
        13 => agree::<V313>(&words, &PARTS_313, &V313::FRAME),
        14 => agree::<V314>(&words, &PARTS_314, &V314::FRAME),
        15 => agree::<V315>(&words, &PARTS_315, &V315::FRAME),
        _ => false,
    };
    match (agree, is_free_threaded) {
        (false, false) => DebugOffsets::Differ,
        (false, true) => DebugOffsets::DifferFreeThreaded,
        (true, false) => DebugOffsets::Agree,
        (true, true) => DebugOffsets::AgreeFreeThreaded,
    }
}

/// `sizeof(PyThreadState)` in 3.13, behind which the interpreter keeps more.
///
/// # Safety
/// `runtime` must be the address of `_PyRuntime` of a 3.13 that was found to [agree](compare).
pub unsafe fn thread_state_bytes(runtime: *const c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe { read(runtime, PARTS_313.thread_state * 8) }
}

fn agree<V: Layout>(words: &[u64; WORDS], parts: &Parts, frame: &FrameOffsets) -> bool {
    let code: &CodeOffsets = &V::CODE;
    let head = code.object_head;
    // The frame's part ends with `tlbc_index`, the code object's with `co_tlbc`; a build with the GIL has 0 in both, and 3.13 in neither.
    let copies = frame.copies.as_ref();
    let has_copies = copies.is_none_or(|copies| {
        words[parts.frame + 7] == copies.index as u64 && words[parts.code + 10] == copies.table as u64
    });
    let expected = [
        (parts.thread_state + 3, V::TSTATE_INTERP),
        (parts.thread_state + 4, 72),
        (parts.thread_state + parts.thread_id, V::TSTATE_THREAD_ID),
        (parts.frame + 1, 8),
        (parts.frame + 2, frame.code),
        (parts.frame + 3, frame.instruction),
        (parts.frame + 5, frame.owner),
        (parts.code + 1, code.file),
        (parts.code + 3, code.name),
        (parts.code + 4, code.line_table),
        (parts.code + 5, code.first_line),
        (parts.code + parts.code_adaptive, frame.code_adaptive),
        (parts.object + 1, head - 8),
        (parts.bytes + 1, head),
        (parts.bytes + 2, head + 16),
        (parts.text + 1, head + 16),
        (parts.text + 2, head),
        (parts.text + 3, code.ascii_size),
    ];
    has_copies && expected.iter().all(|&(index, offset)| words[index] == offset as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare_words(words: &[u64; WORDS], version_hex: u32) -> DebugOffsets {
        // SAFETY: as long as the function reads.
        unsafe { compare(words.as_ptr().cast(), version_hex) }
    }

    #[test]
    fn neither_another_version_nor_a_missing_cookie_nor_a_zeroed_structure_agrees() {
        let mut words = [0; WORDS];
        assert_eq!(compare_words(&words, 0x030e_0af0), DebugOffsets::Differ);
        (words[0], words[1]) = (COOKIE, 0x030e_0af0);
        for version in [0x030c_01f0, 0x030e_0af0, 0x030f_02f0, 0x0310_00f0] {
            assert_eq!(compare_words(&words, version), DebugOffsets::Differ, "{version:x}");
        }
        words[2] = 1;
        for version in [0x030e_0af0, 0x030f_02f0] {
            words[1] = u64::from(version);
            assert_eq!(compare_words(&words, version), DebugOffsets::DifferFreeThreaded, "{version:x}");
        }
    }
}
