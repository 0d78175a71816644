//! Code records by number, their names interned once each.
use crate::interner::Interner;
use crate::shared_view::SharedView;
use crate::text;
use memlens_format::capture::{Frame, StringId};
use memlens_format::shared::Text;
use rustc_hash::FxHashMap;
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
    names: Names,
    has_twin: bool,
}

/// What a capture keeps of a code object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Names {
    function: StringId,
    file: StringId,
    first_line: u32,
}

impl<'a> CodeIndex<'a> {
    /// Those code records of `view` that are `wanted`, which may name one several times.
    pub fn new(view: &'a SharedView, wanted: impl Iterator<Item = u32>, strings: &mut Interner<String>) -> Self {
        let mut index = Self { view, codes: vec![None; view.code_count()], buffer: Vec::new(), copied_bytes: 0 };
        let mut first_of_names = FxHashMap::default();
        for code in wanted.map(|code| code as usize) {
            if !matches!(index.codes.get(code), Some(None)) {
                continue;
            }
            let Some(names) = index.load(code, strings) else { continue };
            let first = *first_of_names.entry(names).or_insert(code);
            index.codes[code] = Some(Code { names, has_twin: first != code });
            if let (true, Some(first)) = (first != code, &mut index.codes[first]) {
                first.has_twin = true;
            }
        }
        index
    }

    /// The frame of a line of a code record, or `None` if the record cannot be read.
    pub fn frame(&self, code: u32, line: u32) -> Option<Frame> {
        let Names { function, file, first_line } = self.codes.get(code as usize)?.as_ref()?.names;
        Some(Frame { function, file, line, first_line })
    }

    /// Whether another of the records has, or may have, the same frames.
    pub fn has_twin(&self, code: u32) -> bool {
        self.codes.get(code as usize).and_then(Option::as_ref).is_none_or(|code| code.has_twin)
    }

    fn load(&mut self, index: usize, strings: &mut Interner<String>) -> Option<Names> {
        let record = self.view.code(index)?;
        Some(Names {
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
