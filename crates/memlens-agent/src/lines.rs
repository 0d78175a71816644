//! Lines of instructions, remembered.
use crate::process_memory::ProcessMemory;
use core::ptr::NonNull;
use memlens_recorder::Memory;

const REMEMBERED_LINES: usize = 2048;

/// The lines of the instructions that were asked for last, for a line is asked for under every parent anew.
pub struct Lines {
    entries: NonNull<[u32; 3]>,
}

impl Lines {
    /// None yet.
    pub fn new(memory: &mut ProcessMemory) -> Option<Self> {
        Some(Self { entries: memory.private(REMEMBERED_LINES * size_of::<[u32; 3]>())?.cast() })
    }

    fn entry(&self, serial: u32, instruction: u32) -> NonNull<[u32; 3]> {
        let index = (serial.wrapping_mul(0x9E37_79B1) >> 8 ^ instruction >> 1) as usize % REMEMBERED_LINES;
        // SAFETY: there are that many entries.
        unsafe { self.entries.add(index) }
    }

    /// The line, if it is remembered.
    pub fn get(&self, serial: u32, instruction: u32) -> Option<u32> {
        // SAFETY: zeroed or written entries; no code object has the serial 0.
        let [found_serial, found_instruction, line] = unsafe { self.entry(serial, instruction).read() };
        (found_serial == serial && found_instruction == instruction).then_some(line)
    }

    /// Remembers a line.
    pub fn set(&mut self, serial: u32, instruction: u32, line: u32) {
        // SAFETY: as above; the lock is held.
        unsafe { self.entry(serial, instruction).write([serial, instruction, line]) };
    }
}
