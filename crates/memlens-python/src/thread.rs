//! The threads of the interpreter and the variables of their frames.
use crate::object::Object;
use crate::text;
use crate::type_facts::{Kind, TypeTable};
use memlens_cpython::code::{Text, read_code};
use memlens_cpython::layout::{Layout, Place, V39, V310, V311, V312, V313};
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
    pub function_object: Option<Object>,
    /// Variable names (strings) and values.
    pub locals: Vec<(Object, Object)>,
    /// What it refers to without a name: a namespace that is no function's, and operands of the call that it waits in.
    pub others: Vec<Object>,
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
/// `offsetof(PyCodeObject, co_localsplusnames)`, 3.11 to 3.13.
const LOCAL_NAMES: isize = 96;
/// `offsetof(_PyInterpreterFrame, localsplus)`, 3.11 to 3.13. A frame object's `f_localsplus` stands at 360 in 3.9, at 352 in 3.10.
const LOCALS: isize = 72;
/// `offsetof(_PyInterpreterFrame, stacktop)`, 3.11 to 3.13.
const STACK_TOP: isize = 64;
/// `offsetof(PyCodeObject, co_varnames)`, `co_cellvars` and `co_freevars`, 3.9 and 3.10.
const OLD_NAMES: [isize; 3] = [72, 88, 80];

/// All threads. The caller holds the GIL, so that no frame changes.
pub fn all(types: &mut TypeTable<'_>) -> Vec<Thread> {
    match types.interpreter.layout.minor {
        9 => threads::<V39>(types),
        10 => threads::<V310>(types),
        11 => threads::<V311>(types),
        12 => threads::<V312>(types),
        13 => threads::<V313>(types),
        _ => Vec::new(),
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
        let line = line_at(code.line_table, code.first_line, V::MINOR, instruction).unwrap_or(code.first_line);
        let names = local_names::<V>(code_object, types);
        let first = match V::MINOR {
            9 => 360,
            10 => 352,
            _ => LOCALS,
        };
        let count = names.len();
        let locals = names.into_iter().enumerate();
        let locals = locals.filter_map(|(at, name)| Some((name, frame.field(first + 8 * at as isize)?)));
        let function_object = match V::MINOR {
            ..11 => None,
            11 => frame.field(0),
            _ => frame.field(16),
        };
        Some(InterpreterFrame {
            address: frame.address(),
            function: string(code.name),
            file: string(code.file),
            line,
            code: code_object,
            function_object,
            locals: locals.collect(),
            others: others::<V>(frame, count),
        })
    }
}

/// The namespace of a module's or a class's frame, and the operands of a frame that waits in an inlined call.
///
/// # Safety
/// The frame must be live, of this version, with so many variables.
unsafe fn others<V: Layout>(frame: Object, local_count: usize) -> Vec<Object> {
    let namespace = match V::MINOR {
        // SAFETY: a frame object's f_back, f_builtins, f_globals and f_locals.
        ..11 => return unsafe { [24, 40, 48, 56].into_iter().filter_map(|at| frame.field(at)).collect() },
        11 => 24,
        _ => 40,
    };
    // SAFETY: the caller's promise; `stacktop` counts the slots in use, or is negative while the frame runs.
    unsafe {
        let used = usize::try_from(frame.read::<i32>(STACK_TOP)).unwrap_or(0);
        let operands = (local_count..used).filter_map(|at| frame.field(LOCALS + 8 * at as isize));
        frame.field(namespace).into_iter().chain(operands).collect()
    }
}

/// The names of variables, cells and free variables, in the order of their slots.
///
/// # Safety
/// `code` must be a code object of this version.
unsafe fn local_names<V: Layout>(code: Object, types: &mut TypeTable<'_>) -> Vec<Object> {
    let offsets: &[isize] = if V::MINOR < 11 { &OLD_NAMES } else { &[LOCAL_NAMES] };
    let mut names = Vec::new();
    for offset in offsets {
        // SAFETY: the field holds a tuple of strings.
        let Some(tuple) = (unsafe { code.field(*offset) }) else {
            continue;
        };
        if types.of(tuple.type_of()).kind == Kind::Tuple {
            // SAFETY: a tuple's items.
            names.extend(unsafe { (0..tuple.var_size()).filter_map(|at| tuple.field(24 + 8 * at as isize)) });
        }
    }
    names
}

fn string(text: Text<'_>) -> String {
    text::decoded(text.bytes, text.width as usize, 1000)
}
