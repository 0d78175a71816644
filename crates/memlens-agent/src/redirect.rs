//! Redirects functions of a library to hooks of ours, by a jump at their entries.
//!
//! ```text
//!  the library                        a page of ours, within 2 GiB of it
//!  malloc: jmp ───────────────────►   stub:        mov $original,%r9; jmp *hook   → the hook, a Rust function
//!          second instruction ◄──┐    original:    first instruction, moved; ...
//!          ...                   └──────────────── jmp
//! ```
//!
//! A hook gets the address of `original` as its sixth argument, in a register that a function of fewer arguments may overwrite. (A compiler that
//! sees both ends of a call may know better which registers survive it; not of functions that can end in a system call.)
//!
//! When it is done: at the first `mmap` that comes from the library, so before its allocator can have served anybody, mostly in the
//! library's constructor. The jump is one store of eight aligned bytes, so that a thread that comes there at that moment runs either
//! the old instructions or the new one. All functions of a library are redirected, or none is.
use crate::instruction::{Instruction, Target, decode};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::Release};
use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE, c_void};

const PAGE: usize = 4096;
/// A page for the stubs of one library; each takes about 64 bytes.
const ROOM: usize = 2 * PAGE;
/// How far a page may be from a library, such that jumps reach all of it.
const REACH: usize = 1 << 30;
/// As many bytes of a function are held against the file.
const HEAD: usize = 24;
/// Bytes of a jump.
const JUMP: usize = 5;
/// Libraries that can be redirected.
const MAX_ROOMS: usize = 64;

/// Pages of stubs that were made, to know a function that jumps there already.
static ROOMS: [AtomicUsize; MAX_ROOMS] = [const { AtomicUsize::new(0) }; MAX_ROOMS];
static ROOM_COUNT: AtomicUsize = AtomicUsize::new(0);

/// A function to redirect.
#[derive(Clone, Copy)]
pub struct Function {
    /// Its first instruction.
    pub entry: usize,
    /// Its length in bytes.
    pub size: usize,
    /// Where it shall lead.
    pub hook: usize,
}

impl Function {
    /// No function.
    pub const NONE: Self = Self { entry: 0, size: 0, hook: 0 };

    fn bytes(&self) -> &[u8] {
        // SAFETY: the caller of `redirect` promises that the function is there.
        unsafe { core::slice::from_raw_parts(self.entry as *const u8, self.size) }
    }

    /// Whether something in the function jumps into its first `moved` bytes. Looks at every byte as if an instruction began there, and so
    /// sees each that does.
    fn jumps_into_head(&self, moved: usize) -> bool {
        let bytes = self.bytes();
        let is_into_head = |end: usize, distance: i32| {
            let to = end as i64 + i64::from(distance);
            to > 0 && to < moved as i64
        };
        (moved..self.size).any(|at| match bytes.get(at..).unwrap_or(&[]) {
            [0x70..=0x7f | 0xeb | 0xe0..=0xe3, to, ..] if is_into_head(at + 2, i32::from(*to as i8)) => true,
            [0x0f, 0x80..=0x8f, a, b, c, d, ..] => is_into_head(at + 6, i32::from_le_bytes([*a, *b, *c, *d])),
            [0xe9, a, b, c, d, ..] => is_into_head(at + 5, i32::from_le_bytes([*a, *b, *c, *d])),
            _ => false,
        })
    }
}

/// Redirects all of them, or none. An entry that is redirected already stays as it is. `agrees` tells whether bytes at an address are what
/// they ought to be; if not, somebody else was there.
///
/// # Safety
/// The functions must exist, in text of a library that is mapped to be read and executed, and each hook must have its function's
/// signature, of five arguments at most, and take the original's address as its sixth.
pub unsafe fn redirect(functions: &[Function], agrees: impl Fn(usize, &[u8]) -> bool) -> bool {
    let Some(first) = functions.first() else { return false };
    let Some(mut room) = Room::near(first.entry) else { return false };
    let mut jumps = [(0usize, 0u64); MAX_FUNCTIONS];
    let mut count = 0;
    for function in functions.iter().filter(|function| !is_redirected(function)) {
        let is_untouched = agrees(function.entry, &function.bytes()[..function.size.min(HEAD)]);
        let (Some(place), Some(jump), true) = (jumps.get_mut(count), room.add(function), is_untouched) else {
            return room.give_up();
        };
        *place = jump;
        count += 1;
    }
    let Some(jumps) = jumps.get(..count).filter(|jumps| !jumps.is_empty()) else { return room.give_up() };
    if !room.close() {
        return room.give_up();
    }
    if !jumps.iter().all(|&(word, _)| protect(word, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        jumps.iter().for_each(|&(word, _)| _ = protect(word, PROT_READ | PROT_EXEC));
        return room.give_up();
    }
    for &(word, value) in jumps {
        // SAFETY: an aligned word of the function's head, writable since just now.
        unsafe { AtomicU64::from_ptr(word as *mut u64) }.store(value, Release);
    }
    jumps.iter().all(|&(word, _)| protect(word, PROT_READ | PROT_EXEC))
}

/// Most functions of one library.
pub const MAX_FUNCTIONS: usize = 64;

/// The page of a word gets this protection. False if the kernel (or a policy, such as SELinux's) will not have it.
fn protect(word: usize, protection: i32) -> bool {
    // SAFETY: a page of a library's text, which stays readable and executable.
    unsafe { libc::syscall(libc::SYS_mprotect, word & !(PAGE - 1), PAGE, protection) == 0 }
}

/// Whether the function begins with a jump to a page of ours.
fn is_redirected(function: &Function) -> bool {
    let Some(Instruction { length, target: Target::Jump(None, distance) }) = decode(function.bytes()) else {
        return false;
    };
    let to = (function.entry + length).wrapping_add_signed(distance as isize);
    let rooms = ROOMS.get(..ROOM_COUNT.load(Relaxed)).unwrap_or(&[]);
    rooms.iter().any(|room| to.wrapping_sub(room.load(Relaxed)) < ROOM)
}

/// Where stubs and moved instructions are written.
struct Room {
    start: NonNull<u8>,
    used: usize,
}

impl Room {
    /// A new one within reach of `address`.
    fn near(address: usize) -> Option<Self> {
        if ROOM_COUNT.load(Relaxed) >= MAX_ROOMS {
            return None;
        }
        let steps = (0..REACH >> 20).step_by(4).map(|step| step << 20);
        let around = steps.flat_map(|step| [address.saturating_sub(step), address.saturating_add(step)]);
        // First where the kernel would put it: mostly that is just below the library that was loaded last.
        core::iter::once(0).chain(around).find_map(|hint| Self::map(hint & !(PAGE - 1), address))
    }

    fn map(hint: usize, near: usize) -> Option<Self> {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | if hint == 0 { 0 } else { MAP_FIXED_NOREPLACE };
        // SAFETY: a new mapping, which replaces none.
        let start = unsafe { libc::syscall(libc::SYS_mmap, hint, ROOM, PROT_READ | PROT_WRITE, flags, -1, 0usize) };
        let start = start as *mut u8;
        if start.cast::<c_void>() == MAP_FAILED {
            return None;
        }
        let room = Self { start: NonNull::new(start)?, used: 0 };
        if (start as usize).abs_diff(near) < REACH {
            return Some(room);
        }
        room.give_up();
        None
    }

    /// Gives the page back; nothing leads there. Returns false.
    fn give_up(&self) -> bool {
        // SAFETY: our own mapping.
        unsafe { libc::syscall(libc::SYS_munmap, self.start.as_ptr(), ROOM) };
        false
    }

    /// No more is written; what is there can run.
    fn close(&self) -> bool {
        let Some(place) = ROOMS.get(ROOM_COUNT.load(Relaxed)) else { return false };
        // SAFETY: our own mapping.
        if unsafe { libc::syscall(libc::SYS_mprotect, self.start.as_ptr(), ROOM, PROT_READ | PROT_EXEC) } != 0 {
            return false;
        }
        place.store(self.start.as_ptr() as usize, Relaxed);
        ROOM_COUNT.fetch_add(1, Relaxed);
        true
    }

    fn here(&self) -> usize {
        self.start.as_ptr() as usize + self.used
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.used.checked_add(bytes.len()).filter(|&end| end <= ROOM)?;
        // SAFETY: within the mapping, which is ours and writable until it is closed.
        unsafe { self.start.add(self.used).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        self.used = end;
        Some(())
    }

    /// Writes `opcode` and, as its operand, how far it is to `to`.
    fn write_relative(&mut self, opcode: &[u8], to: usize) -> Option<()> {
        let distance = distance(self.here() + opcode.len() + 4, to)?;
        self.write(opcode)?;
        self.write(&distance.to_le_bytes())
    }

    /// Writes the stub and the moved head of a function. Returns the word that makes it lead there, and that word's address.
    fn add(&mut self, function: &Function) -> Option<(usize, u64)> {
        let original = self.here();
        self.move_head(function)?;
        let stub = self.here();
        self.write(&[0x49, 0xb9])?;
        self.write(&original.to_le_bytes())?;
        self.write(&[0xff, 0x25, 0, 0, 0, 0])?;
        self.write(&function.hook.to_le_bytes())?;
        let at = function.entry & 7;
        let word = function.entry - at;
        // SAFETY: a word of the library's text.
        let mut bytes = unsafe { (word as *const u64).read() }.to_le_bytes();
        let jump = bytes.get_mut(at..at + JUMP)?;
        jump[0] = 0xe9;
        jump[1..].copy_from_slice(&distance(function.entry + JUMP, stub)?.to_le_bytes());
        Some((word, u64::from_le_bytes(bytes)))
    }

    /// Writes the instructions that the jump will stand upon, such that they do there what they do here.
    fn move_head(&mut self, function: &Function) -> Option<()> {
        let (mut moved, mut falls_through) = (0, true);
        let mut jumps_to = usize::MAX;
        while moved < JUMP {
            let bytes = function.bytes().get(moved..).filter(|_| falls_through)?;
            let instruction = decode(bytes)?;
            let end = function.entry + moved + instruction.length;
            if let Target::Jump(_, distance) = instruction.target {
                jumps_to = jumps_to.min(end.wrapping_add_signed(distance as isize).wrapping_sub(function.entry));
            }
            falls_through = !matches!(instruction.target, Target::Jump(None, _));
            self.move_instruction(bytes.get(..instruction.length)?, instruction.target, end)?;
            moved += instruction.length;
        }
        if jumps_to < moved || function.jumps_into_head(moved) {
            return None;
        }
        if falls_through { self.write_relative(&[0xe9], function.entry + moved) } else { Some(()) }
    }

    /// Writes one instruction that ended at `end`.
    fn move_instruction(&mut self, bytes: &[u8], target: Target, end: usize) -> Option<()> {
        match target {
            Target::Nowhere => self.write(bytes),
            Target::Data(operand) => {
                let old_distance = i32::from_le_bytes(bytes.get(operand..operand + 4)?.try_into().ok()?);
                let to = end.wrapping_add_signed(old_distance as isize);
                let new_distance = distance(self.here() + bytes.len(), to)?;
                self.write(bytes.get(..operand)?)?;
                self.write(&new_distance.to_le_bytes())?;
                self.write(bytes.get(operand + 4..)?)
            }
            Target::Jump(Some(condition), distance) => {
                self.write_relative(&[0x0f, 0x80 | condition], end.wrapping_add_signed(distance as isize))
            }
            Target::Jump(None, distance) => self.write_relative(&[0xe9], end.wrapping_add_signed(distance as isize)),
        }
    }
}

/// From the end of an instruction to what it names, if that fits.
fn distance(from: usize, to: usize) -> Option<i32> {
    i32::try_from((to as isize).wrapping_sub(from as isize)).ok()
}
