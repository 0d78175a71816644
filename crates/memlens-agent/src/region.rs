//! Regions: what a library maps by itself, anonymously, out of which it may serve blocks that no hook sees.
//!
//! Their mappings are counted as any others; here, besides, by library, so that the report can say how much that is and how much of it was in
//! use. That the kernel knows (`mincore`): asked each time would be dear, and so it is asked when what is mapped has grown by a sixteenth since
//! the last look, before something is given back or mapped in addition, and when the program exits.
use crate::agent::{Cold, header, with_cold};
use crate::library::Library;
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed, Ordering::Release};
use memlens_format::shared::{LibraryRecord, MAX_LIBRARIES};
use memlens_recorder::Memory;
use memlens_recorder::mappings::{Mapping, Removed};

const PAGE: usize = 4096;
/// Pages of one question to the kernel, a byte each.
const QUESTION: usize = 2048;
/// As much of one mapping is looked at: larger ones are reserves, of which the kernel would write a byte for each page.
const MOST_LOOKED: usize = 64 << 30;
/// A longer path is cut off.
const LONGEST_PATH: usize = 4096;
/// Of mappings that are no regions: whose caller is the interpreter, or unknown.
pub const NONE: u8 = 0;

/// Callers that map what the program's own Python code asks for, as whole blocks: the module `mmap`, and what `ctypes` calls through.
const GO_BETWEENS: [&[u8]; 2] = [b"mmap.", b"libffi"];

/// Where the paths of the header's records lie in this process.
static PATHS: [AtomicPtr<u8>; MAX_LIBRARIES] = [const { AtomicPtr::new(null_mut()) }; MAX_LIBRARIES];

/// The library's number, counted from 1; [`NONE`] if what it maps are no regions of its own.
pub fn number_of(library: &Library) -> u8 {
    let path = library.path().map_or(&[][..], CStr::to_bytes);
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    if name.is_empty() || GO_BETWEENS.iter().any(|prefix| name.starts_with(prefix)) {
        return NONE;
    }
    with_cold(|cold| enter(cold, &path[..path.len().min(LONGEST_PATH)])).flatten().unwrap_or(NONE)
}

/// Finds or makes the record of a path. The last serves all for which there is no room.
fn enter(cold: &mut Cold, path: &[u8]) -> Option<u8> {
    let count = header().library_count.load(Relaxed) as usize;
    let mut records = header().libraries.iter().zip(&PATHS).take(count);
    let is_path = |(record, place): (&LibraryRecord, &AtomicPtr<u8>)| {
        let (start, length) = (place.load(Relaxed), record.path.length.load(Relaxed) as usize);
        // SAFETY: `enter` wrote it, into memory that stays mapped and that nobody writes again.
        length == path.len() && unsafe { core::slice::from_raw_parts(start, length) } == path
    };
    if let Some(at) = records.position(is_path).or_else(|| (count >= MAX_LIBRARIES).then_some(MAX_LIBRARIES - 1)) {
        return Some(at as u8 + 1);
    }
    let (place, offset) = cold.memory.shared(path.len())?;
    // SAFETY: fresh memory of that length.
    unsafe { place.copy_from_nonoverlapping(NonNull::from(path).cast(), path.len()) };
    let record = header().libraries.get(count)?;
    PATHS.get(count)?.store(place.as_ptr(), Relaxed);
    record.path.offset.store(offset, Relaxed);
    record.path.length.store(path.len() as u32, Relaxed);
    record.path.width.store(1, Relaxed);
    header().library_count.store(count as u32 + 1, Release);
    Some(count as u8 + 1)
}

fn record_of(library: u8) -> Option<&'static LibraryRecord> {
    header().libraries.get(usize::from(library).checked_sub(1)?)
}

/// Enters a mapping that overlaps no other. False if there is no room.
pub fn insert(cold: &mut Cold, mapping: Mapping) -> bool {
    let record = record_of(mapping.library);
    if let Some(record) = record {
        look_if_due(cold, mapping.library, record);
    }
    if !cold.mappings.insert(mapping) {
        return false;
    }
    if let Some(record) = record {
        let bytes = (mapping.end - mapping.start) as u64;
        let live = record.live_bytes.load(Relaxed) + bytes;
        record.live_bytes.store(live, Relaxed);
        record.peak_bytes.fetch_max(live, Relaxed);
    }
    true
}

/// Takes `[start, end)` out of the first mapping that it touches.
pub fn remove(cold: &mut Cold, start: usize, end: usize) -> Option<Removed> {
    let library = cold.mappings.first_from(start).filter(|mapping| mapping.start < end)?.library;
    let record = record_of(library);
    if let Some(record) = record {
        look_if_due(cold, library, record);
    }
    let removed = cold.mappings.remove(start, end)?;
    if let Some(record) = record {
        let live = record.live_bytes.load(Relaxed);
        record.live_bytes.store(live.saturating_sub(removed.bytes), Relaxed);
    }
    Some(removed)
}

/// Pages at this address are about to be given back.
pub fn look_before_purge(cold: &mut Cold, address: usize) {
    let library = cold.mappings.holding(address).map_or(NONE, |mapping| mapping.library);
    if let Some(record) = record_of(library) {
        look_if_due(cold, library, record);
    }
}

fn look_if_due(cold: &mut Cold, library: u8, record: &LibraryRecord) {
    let (live, looked) = (record.live_bytes.load(Relaxed), record.looked_bytes.load(Relaxed));
    if live > looked + looked / 16 {
        look(cold, library, record);
    }
}

fn look(cold: &mut Cold, library: u8, record: &LibraryRecord) {
    let of_library = cold.mappings.ranges().iter().filter(|mapping| mapping.library == library);
    let Some(resident) = of_library.map(|mapping| resident_bytes(mapping.start, mapping.end)).sum::<Option<u64>>()
    else {
        return;
    };
    record.resident_bytes.fetch_max(resident, Relaxed);
    record.looked_bytes.fetch_max(record.live_bytes.load(Relaxed), Relaxed);
}

/// The program exits: what its libraries hold now may be the most that they ever held.
pub fn look_at_all(cold: &mut Cold) {
    for (library, record) in (1..).zip(header().libraries.iter().take(header().library_count.load(Relaxed) as usize)) {
        look(cold, library, record);
    }
}

/// How much of a mapping of the program's is resident; `None` where the kernel does not say.
fn resident_bytes(start: usize, end: usize) -> Option<u64> {
    let mut answers = [0u8; QUESTION];
    let end = end.min(start.saturating_add(MOST_LOOKED));
    let mut resident = 0;
    for at in (start..end).step_by(QUESTION * PAGE) {
        let pages = (end - at).div_ceil(PAGE).min(QUESTION);
        // SAFETY: `mincore` reads no memory of the range, and writes a byte a page, for which there is room.
        if unsafe { libc::syscall(libc::SYS_mincore, at, pages * PAGE, answers.as_mut_ptr()) } != 0 {
            return None;
        }
        resident += answers.iter().take(pages).filter(|&&answer| answer & 1 == 1).count();
    }
    Some((resident * PAGE) as u64)
}
