//! Code records by number, their names interned once each.
use crate::interner::Interner;
use crate::shared_view::SharedView;
use crate::text;
use memlens_format::capture::{Frame, StringId};
use memlens_format::shared::Text;
use std::sync::atomic::Ordering::Relaxed;

/// Most bytes of text that are copied out of one process' tables: damaged tables may name the same bytes many times.
const TEXT_BUDGET: usize = 512 << 20;

/// Finds the frame of a code record and a line.
pub struct CodeIndex<'a> {
    view: &'a SharedView,
    codes: Vec<Option<Code>>,
    buffer: Vec<u8>,
    copied_bytes: usize,
}

#[derive(Clone)]
struct Code {
    function: StringId,
    file: StringId,
    first_line: u32,
}

impl<'a> CodeIndex<'a> {
    /// The code records of `view`.
    pub fn new(view: &'a SharedView) -> Self {
        Self { view, codes: vec![None; view.code_count()], buffer: Vec::new(), copied_bytes: 0 }
    }

    /// The frame of a line of a code record, or `None` if the record cannot be read.
    pub fn frame(&mut self, code: u32, line: u32, strings: &mut Interner<String>) -> Option<Frame> {
        let index = code as usize;
        if self.codes.get(index)?.is_none() {
            self.codes[index] = Some(self.load(index, strings)?);
        }
        let code = self.codes[index].as_ref()?;
        Some(Frame { function: code.function, file: code.file, line, first_line: code.first_line })
    }

    fn load(&mut self, index: usize, strings: &mut Interner<String>) -> Option<Code> {
        let record = self.view.code(index)?;
        Some(Code {
            function: self.intern(&record.name, strings)?,
            file: self.intern(&record.file, strings)?,
            first_line: record.first_line.load(Relaxed),
        })
    }

    fn intern(&mut self, text: &Text, strings: &mut Interner<String>) -> Option<StringId> {
        self.buffer.clear();
        let width = self.view.copy_text(text, &mut self.buffer)?;
        self.copied_bytes += self.buffer.len();
        if self.copied_bytes > TEXT_BUDGET {
            return None;
        }
        Some(StringId(strings.intern(text::decode(&self.buffer, width)?)))
    }
}
