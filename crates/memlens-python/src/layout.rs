//! Where things stand in the interpreter's objects, by minor version.
//!
//! Read off each version's own headers with `offsetof`; a minor version's micro versions keep its ABI. What is the same
//! from 3.9 to 3.15 stands as a constant beside the code that reads it; what differs stands in [`Layout`].
use std::fmt;

/// Offsets in `PyTypeObject`, the same in every version (`Include/cpython/object.h`).
pub mod type_object {
    pub const NAME: isize = 24;
    pub const BASIC_SIZE: isize = 32;
    pub const ITEM_SIZE: isize = 40;
    pub const DEALLOC: isize = 48;
    pub const FLAGS: isize = 168;
    pub const TRAVERSE: isize = 184;
    pub const MEMBERS: isize = 240;
    pub const BASE: isize = 256;
    pub const DICT: isize = 264;
    pub const DICT_OFFSET: isize = 288;
    pub const IS_GC: isize = 328;
    pub const BASES: isize = 336;
    pub const MRO: isize = 344;
    pub const SUBCLASSES: isize = 360;
    pub const FINALIZE: isize = 392;
}

/// `PyGC_Head`, in front of each object that the collector can track.
pub const GC_HEAD: usize = 16;

/// What differs between minor versions.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// 12 of 3.12.
    pub minor: u32,
    /// `sizeof(PyASCIIObject)`.
    pub ascii_size: usize,
    /// `sizeof(PyCompactUnicodeObject)`; its `utf8_length` and `utf8` are the two words (3.12 and newer) at its end, or stand
    /// before `wstr_length`.
    pub compact_size: usize,
    /// `offsetof(PyCompactUnicodeObject, utf8)`.
    pub utf8: isize,
    /// `offsetof(PyHeapTypeObject, ht_cached_keys)`.
    pub cached_keys: isize,
    /// `offsetof(PyHeapTypeObject, ht_qualname)`.
    pub qualified_name: isize,
    /// `offsetof(PyFrameObject, f_back)`.
    pub frame_back: isize,
    /// `sizeof(PyInterpreterState)` or less.
    pub interpreter_size: usize,
    /// Fields of a function that hold objects, with the names by which Python knows them.
    pub function_fields: &'static [(isize, &'static str)],
    /// `offsetof(PyFunctionObject, func_globals)`, `func_builtins` (0: none), `func_code`, `func_module`.
    pub function_outside: [isize; 4],
    pub frame: FrameLayout,
    /// `offsetof(PyTupleObject, ob_item)`: 3.14 put the hash before the items.
    pub tuple_items: isize,
}

/// Where things stand in a frame: `PyFrameObject` before 3.11, `_PyInterpreterFrame` since.
#[derive(Clone, Copy, Debug)]
pub struct FrameLayout {
    /// The code object.
    pub code: isize,
    /// The function object that runs, if the frame holds one.
    pub function: Option<isize>,
    /// Objects to which the frame refers beside its variables: before 3.11 f_back, f_builtins, f_globals and f_locals, then f_locals alone.
    pub others: &'static [isize],
    /// `localsplus`: variables, then operands.
    pub locals: isize,
    /// How far the operands go.
    pub stack: StackEnd,
    /// Fields of a code object with tuples of names, in the order of the variables' slots.
    pub names: &'static [isize],
}

/// What says where a frame's operands end.
#[derive(Clone, Copy, Debug)]
pub enum StackEnd {
    /// Not known while the frame runs.
    Unknown,
    /// `int stacktop`: the number of slots in use, negative while the frame runs.
    Count(isize),
    /// `stackpointer`: the first free slot, null while the frame runs. The slots hold `_PyStackRef`s, whose two lowest bits say how they
    /// count (`Include/internal/pycore_stackref.h`).
    Pointer(isize),
}

const FUNCTION_FIELDS: &[(isize, &str)] = &[
    (32, "__name__"),
    (40, "__qualname__"),
    (56, "__defaults__"),
    (64, "__kwdefaults__"),
    (72, "__closure__"),
    (80, "__doc__"),
    (88, "__dict__"),
    (112, "__annotations__"),
];
const FUNCTION_FIELDS_12: &[(isize, &str)] = &[
    (32, "__name__"),
    (40, "__qualname__"),
    (56, "__defaults__"),
    (64, "__kwdefaults__"),
    (72, "__closure__"),
    (80, "__doc__"),
    (88, "__dict__"),
    (112, "__annotations__"),
    (120, "__type_params__"),
];
const FUNCTION_FIELDS_14: &[(isize, &str)] = &[
    (32, "__name__"),
    (40, "__qualname__"),
    (56, "__defaults__"),
    (64, "__kwdefaults__"),
    (72, "__closure__"),
    (80, "__doc__"),
    (88, "__dict__"),
    (112, "__annotations__"),
    (120, "__annotate__"),
    (128, "__type_params__"),
];
const FUNCTION_FIELDS_9: &[(isize, &str)] = &[
    (32, "__defaults__"),
    (40, "__kwdefaults__"),
    (48, "__closure__"),
    (56, "__doc__"),
    (64, "__name__"),
    (72, "__dict__"),
    (96, "__annotations__"),
    (104, "__qualname__"),
];

const V9: Layout = Layout {
    minor: 9,
    ascii_size: 48,
    compact_size: 72,
    utf8: 56,
    cached_keys: 864,
    qualified_name: 856,
    frame_back: 24,
    interpreter_size: 5_656,
    function_fields: FUNCTION_FIELDS_9,
    function_outside: [24, 0, 16, 88],
    frame: FrameLayout {
        code: 32,
        function: None,
        others: &[24, 40, 48, 56],
        locals: 360,
        stack: StackEnd::Unknown,
        names: &[72, 88, 80],
    },
    tuple_items: 24,
};
const V10: Layout = Layout {
    minor: 10,
    cached_keys: 872,
    qualified_name: 864,
    interpreter_size: 113_528,
    function_fields: FUNCTION_FIELDS,
    function_outside: [16, 24, 48, 104],
    frame: FrameLayout { locals: 352, ..V9.frame },
    ..V9
};
const V11: Layout = Layout {
    minor: 11,
    frame_back: 16,
    interpreter_size: 107_752,
    frame: FrameLayout {
        code: 32,
        function: Some(0),
        others: &[24],
        locals: 72,
        stack: StackEnd::Count(64),
        names: &[96],
    },
    ..V10
};
const V12: Layout = Layout {
    minor: 12,
    ascii_size: 40,
    compact_size: 56,
    utf8: 48,
    cached_keys: 880,
    qualified_name: 872,
    interpreter_size: 383_552,
    function_fields: FUNCTION_FIELDS_12,
    frame: FrameLayout { code: 0, function: Some(16), others: &[40], ..V11.frame },
    ..V11
};
const V13: Layout = Layout { minor: 13, interpreter_size: 194_968, ..V12 };
const V14: Layout = Layout {
    minor: 14,
    function_fields: FUNCTION_FIELDS_14,
    frame: FrameLayout { locals: 80, stack: StackEnd::Pointer(64), ..V13.frame },
    tuple_items: 32,
    ..V13
};
const V15: Layout = Layout { minor: 15, cached_keys: 888, qualified_name: 880, ..V14 };

/// A version whose objects we cannot read.
#[derive(Debug)]
pub struct Unsupported {
    version: (u32, u32),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "memlens reads the objects of CPython 3.9 to 3.15, not of {}.{}",
            self.version.0, self.version.1
        )
    }
}

/// The layout of a version of CPython.
pub fn of_version(major: u32, minor: u32) -> Result<&'static Layout, Unsupported> {
    match (major, minor) {
        (3, 9) => Ok(&V9),
        (3, 10) => Ok(&V10),
        (3, 11) => Ok(&V11),
        (3, 12) => Ok(&V12),
        (3, 13) => Ok(&V13),
        (3, 14) => Ok(&V14),
        (3, 15) => Ok(&V15),
        version => Err(Unsupported { version }),
    }
}
