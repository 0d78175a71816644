//! Code records by number: their names interned, their line tables decoded once each.
use crate::interner::Interner;
use crate::shared_view::SharedView;
use crate::text;
use memlens_cpython::line_table::{LineRun, LineRuns, is_before_start};
use memlens_format::capture::{Frame, StringId};
use memlens_format::shared::{CODE_KIND_PYTHON, CodeRecord, Text};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// Most bytes of text that are copied out of one process' tables: damaged tables may name the same bytes many times.
const TEXT_BUDGET: usize = 512 << 20;

/// Finds the frame of a code record and an instruction.
pub struct LineIndex<'a> {
    view: &'a SharedView,
    python_version: u32,
    codes: Vec<Option<Code>>,
    runs: Vec<LineRun>,
    buffer: Vec<u8>,
    copied_bytes: usize,
}

#[derive(Clone)]
struct Code {
    function: StringId,
    file: StringId,
    first_line: u32,
    /// Of `LineIndex::runs`; `None` for a mere name.
    runs: Option<Range<usize>>,
}

impl<'a> LineIndex<'a> {
    /// The code records of `view`.
    pub fn new(view: &'a SharedView) -> Self {
        Self {
            view,
            python_version: view.header().python_version.load(Relaxed),
            codes: vec![None; view.code_count()],
            runs: Vec::new(),
            buffer: Vec::new(),
            copied_bytes: 0,
        }
    }

    /// The frame of an instruction, or `None` if the code record cannot be read.
    pub fn frame(
        &mut self,
        code: u32,
        instruction: u32,
        strings: &mut Interner<String>,
    ) -> Option<Frame> {
        let index = code as usize;
        if self.codes.get(index)?.is_none() {
            self.codes[index] = Some(self.load(index, strings)?);
        }
        let code = self.codes[index].as_ref()?;
        Some(Frame {
            function: code.function,
            file: code.file,
            line: self.line(code, instruction),
            first_line: code.first_line,
        })
    }

    fn line(&self, code: &Code, instruction: u32) -> u32 {
        let Some(range) = &code.runs else {
            return 0;
        };
        if is_before_start(instruction) {
            return code.first_line;
        }
        let runs = &self.runs[range.clone()];
        let index = runs.partition_point(|run| run.end <= instruction);
        runs.get(index).and_then(|run| run.line).unwrap_or(0)
    }

    fn load(&mut self, index: usize, strings: &mut Interner<String>) -> Option<Code> {
        let record = self.view.code(index)?;
        let first_line = record.first_line.load(Relaxed);
        let function = self.intern(&record.name, strings)?;
        let file = self.intern(&record.file, strings)?;
        let runs = match record.kind.load(Relaxed) {
            CODE_KIND_PYTHON => Some(self.decode_lines(record, first_line)?),
            _ => None,
        };
        Some(Code {
            function,
            file,
            first_line,
            runs,
        })
    }

    fn intern(&mut self, text: &Text, strings: &mut Interner<String>) -> Option<StringId> {
        let width = self.copy(text)?;
        Some(StringId(strings.intern(text::decode(&self.buffer, width)?)))
    }

    fn decode_lines(&mut self, record: &CodeRecord, first_line: u32) -> Option<Range<usize>> {
        self.copy(&record.line_table)?;
        let start = self.runs.len();
        self.runs
            .extend(LineRuns::new(&self.buffer, first_line, self.python_version));
        Some(start..self.runs.len())
    }

    fn copy(&mut self, text: &Text) -> Option<u32> {
        self.buffer.clear();
        let width = self.view.copy_text(text, &mut self.buffer)?;
        self.copied_bytes += self.buffer.len();
        (self.copied_bytes <= TEXT_BUDGET).then_some(width)
    }
}
