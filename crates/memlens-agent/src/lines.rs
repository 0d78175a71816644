//! Lines of instructions, remembered.
use crate::process_memory::ProcessMemory;
use core::ptr::NonNull;
use memlens_cpython::line_table::LineCursor;
use memlens_recorder::Memory;

const REMEMBERED_LINES: usize = 2048;
/// Line tables that are read on from where they were left: a module's is long, and between two of its lines other code runs.
const CURSORS: usize = 16;

/// The lines of the instructions that were asked for last, for a line is asked for under every parent anew.
pub struct Lines {
    entries: NonNull<[u32; 3]>,
    /// By the serial number of a code object; a number is never used twice, so that what is left of one that was released is never read.
    cursors: [Option<(u32, LineCursor<'static>)>; CURSORS],
}

impl Lines {
    /// None yet.
    pub fn new(memory: &mut ProcessMemory) -> Option<Self> {
        let entries = memory.private(REMEMBERED_LINES * size_of::<[u32; 3]>())?.cast();
        Some(Self { entries, cursors: [const { None }; CURSORS] })
    }

    fn entry(&self, serial: u32, instruction: u32) -> NonNull<[u32; 3]> {
        let index = (serial.wrapping_mul(0x9E37_79B1) >> 8 ^ instruction >> 1) as usize % REMEMBERED_LINES;
        // SAFETY: there are that many entries.
        unsafe { self.entries.add(index) }
    }

    /// The line of an instruction of the code object with this serial number, 0 if it has none. Where it is not remembered it is read out of
    /// the code object's table, which `open` opens: the code object must be alive.
    pub fn line(&mut self, serial: u32, instruction: u32, open: impl FnOnce() -> LineCursor<'static>) -> u32 {
        if let Some(line) = self.get(serial, instruction) {
            return line;
        }
        let place = &mut self.cursors[serial as usize % CURSORS];
        let cursor = match place {
            Some((known, cursor)) if *known == serial => cursor,
            _ => &mut place.insert((serial, open())).1,
        };
        let line = cursor.line_at(instruction).unwrap_or(0);
        self.set(serial, instruction, line);
        line
    }

    /// The line, if it is remembered.
    fn get(&self, serial: u32, instruction: u32) -> Option<u32> {
        // SAFETY: zeroed or written entries; no code object has the serial 0.
        let [found_serial, found_instruction, line] = unsafe { self.entry(serial, instruction).read() };
        (found_serial == serial && found_instruction == instruction).then_some(line)
    }

    /// Remembers a line.
    fn set(&mut self, serial: u32, instruction: u32, line: u32) {
        // SAFETY: as above; the lock is held.
        unsafe { self.entry(serial, instruction).write([serial, instruction, line]) };
    }
}
