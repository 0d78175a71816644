//! Line tables: from the offset of an instruction in a code object to a line, as the interpreter itself works it out.
//!
//! Three encodings are in use, told apart by the interpreter's version ([`LineRuns::new`]):
//!
//! | versions   | attribute       | described in (CPython source)                          |
//! |------------|-----------------|--------------------------------------------------------|
//! | up to 3.9  | `co_lnotab`     | `Objects/lnotab_notes.txt` (3.9)                       |
//! | 3.10       | `co_linetable`  | PEP 626, `Objects/lnotab_notes.txt` (3.10)             |
//! | from 3.11  | `co_linetable`  | `Objects/locations.md` (3.11), `InternalDocs` (3.14)   |
//!
//! A table comes out of another program's memory and may be cut short or be no table at all: every answer is then wrong
//! but nothing is read out of bounds, nothing overflows, and the walk ends with the table. Columns are not decoded.

/// `PY_VERSION_HEX` of the first release with PEP 626's table, 3.10.
const VERSION_PEP_626: u32 = 0x030a_0000;
/// `PY_VERSION_HEX` of the first release with location tables, 3.11.
const VERSION_LOCATIONS: u32 = 0x030b_0000;

/// Bytes of one code unit from 3.11 on.
const CODE_UNIT: u32 = 2;
/// PEP 626: this line delta says that the range has no line.
const NO_LINE_DELTA: i8 = -128;

/// A run of instructions with the same line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRun {
    /// Offset in bytes of the first instruction that no longer belongs to the run. The run begins where the previous one
    /// ended; it may be empty.
    pub end: u32,
    /// The line, `None` for instructions that belong to none.
    pub line: Option<u32>,
}

/// A line while a table is read. Deltas may lead anywhere.
type Line = i64;
/// Stands for "no line", as every negative one does.
const NO_LINE: Line = -1;

/// The line of the instruction at byte offset `instruction` (what `frame.f_lasti` says), as `PyCode_Addr2Line` has it
/// (CPython `Objects/codeobject.c`). `u32::MAX`, which is -1, stands for a frame that has not started: its line is the
/// code's first. `None` where the instruction has no line, or lies outside of the table (3.10 and newer).
///
/// `version` is `PY_VERSION_HEX`, `first_line` is `co_firstlineno`.
pub fn line_at(table: &[u8], first_line: u32, version: u32, instruction: u32) -> Option<u32> {
    if is_before_start(instruction) {
        return Some(first_line);
    }
    LineRuns::new(table, first_line, version).find(|run| instruction < run.end).and_then(|run| run.line)
}

/// Whether `instruction` is a negative number: the frame exists but has not run its first instruction.
pub fn is_before_start(instruction: u32) -> bool {
    instruction > i32::MAX as u32
}

/// A reader of one line table that goes on from where it stood, so that reading a long table in order costs its length once.
#[derive(Clone, Debug)]
pub struct LineCursor<'a> {
    table: LineRuns<'a>,
    runs: LineRuns<'a>,
    /// The run that `runs` gave out last: where it begins and ends, and its line.
    start: u32,
    end: u32,
    line: Line,
}

impl<'a> LineCursor<'a> {
    /// A reader at the start of a table; the arguments are those of [`line_at`].
    pub fn new(table: &'a [u8], first_line: u32, version: u32) -> Self {
        let runs = LineRuns::new(table, first_line, version);
        Self { table: runs.clone(), runs, start: 0, end: 0, line: NO_LINE }
    }

    /// As [`line_at`].
    pub fn line_at(&mut self, instruction: u32) -> Option<u32> {
        if is_before_start(instruction) {
            return u32::try_from(self.table.line).ok();
        }
        if instruction < self.start {
            (self.runs, self.start, self.end) = (self.table.clone(), 0, 0);
        }
        while instruction >= self.end {
            self.line = self.runs.step()?;
            (self.start, self.end) = (self.end, self.runs.end);
        }
        u32::try_from(self.line).ok()
    }
}

/// The runs of a line table, in order of their instructions, with ends that never decrease.
#[derive(Clone, Debug)]
pub struct LineRuns<'a> {
    rest: &'a [u8],
    encoding: Encoding,
    /// End of the latest run.
    end: u32,
    /// The line that deltas count from; a run without a line leaves it alone.
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Lnotab,
    /// [`Encoding::Lnotab`] whose last, open-ended run has been given out.
    LnotabDone,
    Pep626,
    Locations,
}

impl<'a> LineRuns<'a> {
    /// The runs of `table`, in the encoding that `version` (`PY_VERSION_HEX`) uses.
    pub fn new(table: &'a [u8], first_line: u32, version: u32) -> Self {
        let encoding = match version {
            VERSION_LOCATIONS.. => Encoding::Locations,
            VERSION_PEP_626.. => Encoding::Pep626,
            _ => Encoding::Lnotab,
        };
        Self { rest: table, encoding, end: 0, line: i64::from(first_line) }
    }

    /// Goes on by one run, which then ends at `end`; returns its line.
    #[inline(always)]
    fn step(&mut self) -> Option<Line> {
        match self.encoding {
            Encoding::Locations => self.next_location(),
            Encoding::Pep626 => self.next_pep_626(),
            Encoding::Lnotab => Some(self.next_lnotab()),
            Encoding::LnotabDone => None,
        }
    }

    #[inline(always)]
    fn take_byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// An entry says how far the present line goes on and what to add to the line *then*; the last line has no end.
    fn next_lnotab(&mut self) -> Line {
        let [length, delta, rest @ ..] = self.rest else {
            self.encoding = Encoding::LnotabDone;
            self.end = u32::MAX;
            return self.line;
        };
        self.rest = rest;
        self.end = self.end.saturating_add(u32::from(*length));
        let line = self.line;
        self.line += i64::from(*delta as i8);
        line
    }

    /// An entry says how much to add to the line *first*, and how far that line goes.
    fn next_pep_626(&mut self) -> Option<Line> {
        let [length, delta, rest @ ..] = self.rest else {
            return None;
        };
        self.rest = rest;
        self.end = self.end.saturating_add(u32::from(*length));
        let delta = *delta as i8;
        if delta == NO_LINE_DELTA {
            return Some(NO_LINE);
        }
        self.line += i64::from(delta);
        Some(self.line)
    }

    /// ```text
    ///  7   6     3   2    0
    /// ┌───┬───────┬────────┐
    /// │ 1 │ kind  │ length │  then bytes with bit 7 clear: line delta (kinds 13 and 14), columns
    /// └───┴───────┴────────┘  length: code units, less one
    /// ```
    #[inline(always)]
    fn next_location(&mut self) -> Option<Line> {
        let first = self.take_byte()?;
        let kind = (first >> 3) & 0x0f;
        let units = u32::from(first & 7) + 1;
        self.end = self.end.saturating_add(units * CODE_UNIT);
        let delta = match kind {
            11 => 1,
            12 => 2,
            13 | 14 => self.take_signed_varint(),
            _ => 0,
        };
        self.line = self.line.saturating_add(i64::from(delta));
        while self.rest.first().is_some_and(|byte| byte & 0x80 == 0) {
            self.take_byte();
        }
        Some(if kind == 15 { NO_LINE } else { self.line })
    }

    /// Six bits a byte, least significant first, bit 6 says that more follow; the lowest bit of the number is its sign.
    fn take_signed_varint(&mut self) -> i32 {
        let mut value: u32 = 0;
        let mut shift = 0;
        while let Some(byte) = self.take_byte() {
            value |= u32::from(byte & 0x3f).checked_shl(shift).unwrap_or(0);
            shift += 6;
            if byte & 0x40 == 0 {
                break;
            }
        }
        let magnitude = (value >> 1) as i32;
        if value & 1 == 1 { -magnitude } else { magnitude }
    }
}

impl Iterator for LineRuns<'_> {
    type Item = LineRun;

    fn next(&mut self) -> Option<LineRun> {
        let line = self.step()?;
        Some(LineRun { end: self.end, line: u32::try_from(line).ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lnotab_as_in_the_notes_of_cpython() {
        // The example of lnotab_notes.txt: 0→1, 6→2, 50→7, then 350→207 and 361→208 from line 1.
        let table = [0, 1, 6, 1, 44, 5, 255, 0, 45, 127, 0, 73];
        let line = |at| line_at(&table, 0, 0x0309_12f0, at);
        assert_eq!(line(u32::MAX), Some(0));
        assert_eq!(line(0), Some(1));
        assert_eq!(line(6), Some(2));
        assert_eq!(line(50), Some(7));
        assert_eq!(line(349), Some(7));
        assert_eq!(line(350), Some(207));
        assert_eq!(line(1_000_000), Some(207));
    }

    #[test]
    fn pep_626_range_without_a_line() {
        let table = [4, 1, 2, 0x80, 2, 0xff];
        let lines: [_; 5] = [0, 4, 6, 8, 100].map(|at| line_at(&table, 10, 0x030a_0df0, at));
        assert_eq!(lines, [Some(11), None, Some(10), None, None]);
    }

    #[test]
    fn a_cursor_answers_as_line_at_does_in_any_order() {
        let table = [4, 1, 2, 0x80, 2, 0xff, 250, 3, 8, 100];
        for version in [0x0309_0000, 0x030a_0000, 0x030c_0000] {
            let mut cursor = LineCursor::new(&table, 10, version);
            for at in [0, 4, 2, 300, 6, u32::MAX, 8, 5, 1000, 7, 0] {
                assert_eq!(cursor.line_at(at), line_at(&table, 10, version, at), "{version:x} {at}");
            }
        }
    }

    #[test]
    fn a_damaged_table_gives_no_answer_but_ends() {
        for version in [0x0309_0000, 0x030a_0000, 0x030c_0000] {
            for byte in 0..=255u8 {
                for length in 0..5 {
                    let table = [byte; 5];
                    assert!(LineRuns::new(&table[..length], 1, version).count() <= 6);
                }
            }
        }
        assert_eq!(line_at(&[], 1, 0x030b_0000, 0), None);
    }
}
