//! The threads of the interpreter and the variables of their frames.
use crate::frame::{self, Reference};
use crate::object::Object;
use crate::text;
use crate::type_facts::TypeTable;
use memlens_cpython::code::{Text, read_code};
use memlens_cpython::layout::{Layout, Place, V39, V310, V311, V312, V313, V314, V315};
use memlens_cpython::line_table::line_at;
use pyo3::ffi;
use std::ffi::c_void;

/// A frame with what it refers to.
pub struct InterpreterFrame {
    pub address: usize,
    pub function: String,
    pub file: String,
    pub line: u32,
    pub code: Object,
    /// The function object that it runs, where the frame holds a reference to it (3.11 and newer).
    pub function_object: Option<Reference>,
    /// Variable names (strings) and values.
    pub locals: Vec<(Object, Reference)>,
    /// What it refers to without a name: a namespace that is no function's, and operands of the call that it waits in.
    pub others: Vec<Reference>,
}

/// A thread and its frames, innermost first.
pub struct Thread {
    /// `threading.get_ident()` of it.
    pub ident: u64,
    pub frames: Vec<InterpreterFrame>,
}

/// `offsetof(PyThreadState, prev)` and `next`.
const PREVIOUS: isize = 0;
const NEXT: isize = 8;

/// All threads. The caller holds the GIL, so that no frame changes.
pub fn all(types: &mut TypeTable<'_>) -> Vec<Thread> {
    match types.interpreter.layout.minor {
        9 => threads::<V39>(types),
        10 => threads::<V310>(types),
        11 => threads::<V311>(types),
        12 => threads::<V312>(types),
        13 => threads::<V313>(types),
        // The early 3.14s differ in nothing that is read here.
        14 => threads::<V314>(types),
        _ => threads::<V315>(types),
    }
}

fn threads<V: Layout>(types: &mut TypeTable<'_>) -> Vec<Thread> {
    states().into_iter().map(|state| thread::<V>(state, types)).collect()
}

/// The states of all threads of the interpreter.
fn states() -> Vec<Object> {
    // SAFETY: we hold the GIL, so that there is a current state, and the list does not change.
    let current = Object::at(unsafe { ffi::PyThreadState_Get() } as usize);
    let follow = |offset: isize| {
        // SAFETY: the links of a thread state.
        std::iter::successors(current, move |state| unsafe { state.field(offset) })
    };
    let mut states: Vec<Object> = follow(NEXT).collect();
    states.extend(follow(PREVIOUS).skip(1));
    states
}

fn thread<V: Layout>(state: Object, types: &mut TypeTable<'_>) -> Thread {
    let mut frames = Vec::new();
    let address = |object: Object| object.address() as *const c_void;
    // SAFETY: the state is a live one of this version, and its frames do not change while we hold the GIL.
    unsafe {
        let mut frame = V::current_frame(address(state));
        while !frame.is_null() {
            if let Place::Code { code, instruction } =
                V::place(frame, types.interpreter.code_type.address() as *const c_void)
            {
                frames.extend(read_frame::<V>(frame, code, instruction, types));
            }
            frame = V::previous(frame);
        }
        Thread { ident: state.read(V::TSTATE_THREAD_ID as isize), frames }
    }
}

/// # Safety
/// Frame and code must be live, of this version.
unsafe fn read_frame<V: Layout>(
    frame: *const c_void,
    code: *const c_void,
    instruction: u32,
    types: &mut TypeTable<'_>,
) -> Option<InterpreterFrame> {
    let (frame, code_object) = (Object::at(frame as usize)?, Object::at(code as usize)?);
    // SAFETY: the caller's promise.
    unsafe {
        let code = read_code(code, &V::CODE);
        let line =
            line_at(code.line_table, code.first_line, version_hex(V::MINOR), instruction).unwrap_or(code.first_line);
        let layout = types.interpreter.layout;
        Some(InterpreterFrame {
            address: frame.address(),
            function: string(code.name),
            file: string(code.file),
            line,
            code: code_object,
            function_object: frame::function(frame, layout),
            locals: frame::locals(frame, code_object, layout),
            others: frame::others(frame, code_object, layout),
        })
    }
}

/// `PY_VERSION_HEX` of a final release.
const fn version_hex(minor: u32) -> u32 {
    0x0300_00f0 | minor << 16
}

fn string(text: Text<'_>) -> String {
    text::decoded(text.bytes, text.width as usize, 1000)
}
