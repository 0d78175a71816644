//! What is known of a type: how its instances lie in memory and how their references are found.
//!
//! A class written in Python is seen through to the C type under it (its *native* base), which decides the layout. What a class
//! says about itself (`__sizeof__`, `__class__`, `__dict__`) is never asked.
use crate::coder::Coder;
use crate::interpreter::Interpreter;
use crate::layout::{GC_HEAD, type_object as slot};
use crate::object::{Object, c_text};
use pyo3::ffi;
use rustc_hash::FxHashMap;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

const FLAG_INLINE_VALUES: u64 = 1 << 2;
const FLAG_MANAGED_WEAKREF: u64 = 1 << 3;
const FLAG_MANAGED_DICT: u64 = 1 << 4;
const FLAG_HEAP_TYPE: u64 = 1 << 9;
const FLAG_HAVE_GC: u64 = 1 << 14;
/// `METH_NOARGS`, alone.
const METHOD_NO_ARGUMENTS: c_int = 4;
/// `T_OBJECT` and `T_OBJECT_EX`.
const MEMBER_OBJECT: [c_int; 2] = [6, 16];
/// `Py_RELATIVE_OFFSET`.
const MEMBER_RELATIVE: c_int = 8;

/// How instances are laid out, where that is known to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    List,
    Tuple,
    Dict,
    DefaultDict,
    OrderedDict,
    Set,
    Str,
    Bytes,
    ByteArray,
    Int,
    Function,
    /// A coroutine and an asynchronous generator as well.
    Generator,
    Frame,
    Module,
    Type,
    Code,
    Cell,
    Method,
    Range,
    /// A `datetime` or a `time`: smaller without a time zone.
    DateTime,
    TimeZone,
    WeakReference,
    BytesIo,
    StringIo,
    Mmap,
    BuiltinFunction,
    Traceback,
    NumpyArray,
    NumpyDtype,
    /// An instance of `ctypes`, whose value may lie outside of it.
    CData,
    /// A compressor or decompressor, whose library holds memory for it.
    Coder(Coder),
    /// Buffers that only the library itself can tell: asked after the walk.
    Native(Native),
    Other,
}

/// A library whose objects keep their memory where no traversal leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    ArrowBuffer,
    ArrowArray,
    ArrowChunked,
    ArrowTable,
    PolarsFrame,
    PolarsSeries,
    PandasTable,
}

const KINDS: &[(&str, Kind)] = &[
    ("list", Kind::List),
    ("tuple", Kind::Tuple),
    ("dict", Kind::Dict),
    ("collections.defaultdict", Kind::DefaultDict),
    ("collections.OrderedDict", Kind::OrderedDict),
    ("set", Kind::Set),
    ("frozenset", Kind::Set),
    ("str", Kind::Str),
    ("bytes", Kind::Bytes),
    ("bytearray", Kind::ByteArray),
    ("int", Kind::Int),
    ("function", Kind::Function),
    ("generator", Kind::Generator),
    ("coroutine", Kind::Generator),
    ("async_generator", Kind::Generator),
    ("frame", Kind::Frame),
    ("module", Kind::Module),
    ("type", Kind::Type),
    ("code", Kind::Code),
    ("cell", Kind::Cell),
    ("method", Kind::Method),
    ("range", Kind::Range),
    ("datetime.timezone", Kind::TimeZone),
    ("datetime.datetime", Kind::DateTime),
    ("datetime.time", Kind::DateTime),
    ("weakref", Kind::WeakReference),
    ("weakref.ReferenceType", Kind::WeakReference),
    ("weakproxy", Kind::WeakReference),
    ("weakcallableproxy", Kind::WeakReference),
    ("weakref.ProxyType", Kind::WeakReference),
    ("weakref.CallableProxyType", Kind::WeakReference),
    ("_io.BytesIO", Kind::BytesIo),
    ("_io.StringIO", Kind::StringIo),
    ("mmap.mmap", Kind::Mmap),
    ("builtin_function_or_method", Kind::BuiltinFunction),
    ("traceback", Kind::Traceback),
    ("numpy.ndarray", Kind::NumpyArray),
    ("numpy.dtype", Kind::NumpyDtype),
    ("_ctypes._CData", Kind::CData),
    ("zlib.Compress", Kind::Coder(Coder::Deflate)),
    ("zlib.Decompress", Kind::Coder(Coder::Inflate)),
    ("zlib._ZlibDecompressor", Kind::Coder(Coder::BufferedInflate)),
    ("_bz2.BZ2Compressor", Kind::Coder(Coder::BzipCompressor)),
    ("_bz2.BZ2Decompressor", Kind::Coder(Coder::BzipDecompressor)),
    ("_lzma.LZMACompressor", Kind::Coder(Coder::LzmaCompressor)),
    ("_lzma.LZMADecompressor", Kind::Coder(Coder::LzmaDecompressor)),
    ("pyarrow.lib.Buffer", Kind::Native(Native::ArrowBuffer)),
    ("pyarrow.lib.Array", Kind::Native(Native::ArrowArray)),
    ("pyarrow.lib.ChunkedArray", Kind::Native(Native::ArrowChunked)),
    ("pyarrow.lib.Table", Kind::Native(Native::ArrowTable)),
    ("pyarrow.lib.RecordBatch", Kind::Native(Native::ArrowTable)),
    ("PyDataFrame", Kind::Native(Native::PolarsFrame)),
    ("builtins.PyDataFrame", Kind::Native(Native::PolarsFrame)),
    ("PySeries", Kind::Native(Native::PolarsSeries)),
    ("builtins.PySeries", Kind::Native(Native::PolarsSeries)),
    ("pandas._libs.hashtable.HashTable", Kind::Native(Native::PandasTable)),
];

/// Modules of the standard library whose types' own `__sizeof__` (in C) is believed.
const TRUSTED_MODULES: &[&str] = &[
    "array",
    "collections",
    "_collections",
    "io",
    "_io",
    "itertools",
    "functools",
    "xml.etree.ElementTree",
    "_elementtree",
    "_struct",
    "_random",
    "_pickle",
    "decimal",
    "_decimal",
    "_asyncio",
    "_queue",
    "zlib",
    "_bz2",
    "_lzma",
    "_csv",
    "_hashlib",
    "re",
    "_sre",
    "sqlite3",
    "_ctypes",
    "select",
    "_thread",
    "types",
    "weakref",
    "datetime",
    "_zoneinfo",
];

/// `tp_traverse`.
pub type Traverse = unsafe extern "C" fn(*mut ffi::PyObject, ffi::visitproc, *mut c_void) -> c_int;
/// `tp_is_gc`.
type IsGc = unsafe extern "C" fn(*mut ffi::PyObject) -> c_int;
type NoArguments = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;

/// A field with a name: a slot of a class, or what a C type shows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub offset: isize,
    pub name: *const c_char,
}

/// Where instances keep their attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictPlace {
    None,
    /// `tp_dictoffset`; from the end if negative.
    Offset(isize),
    /// Before the object; its values, if inline, at this offset.
    Managed {
        inline: Option<usize>,
    },
}

/// A type.
pub struct TypeFacts {
    pub class: Object,
    pub kind: Kind,
    /// The kind is that of the type itself or of a Python class's native base, not of something that a C type was derived from.
    pub is_exact: bool,
    /// The collector follows the references of its instances (`Py_TPFLAGS_HAVE_GC`).
    pub is_collected: bool,
    /// A class made by a `class` statement.
    pub is_python_class: bool,
    pub basic_size: usize,
    /// The basic size of the native base.
    pub native_size: usize,
    pub item_size: usize,
    /// Bytes before the object: the collector's head and the managed fields.
    pub pre_size: usize,
    pub dict: DictPlace,
    /// Of the native base.
    pub traverse: Option<Traverse>,
    /// Tells objects with a collector's head from those without, where a type has both: static types have none.
    is_gc: Option<IsGc>,
    /// It is code of an extension that the traversal is, neither the interpreter's nor the standard library's.
    pub is_foreign: bool,
    /// Slots of Python classes, and members of C types.
    pub slots: Vec<Member>,
    pub members: Vec<Member>,
    /// It is pandas' `DataFrame`, or is derived from it.
    pub is_frame: bool,
    /// The `__sizeof__` in C of a type of the standard library.
    sizeof: Option<NoArguments>,
    /// Nothing can be reached from an instance.
    pub is_leaf: bool,
}

impl TypeFacts {
    fn new(interpreter: &Interpreter, class: Object) -> Self {
        let native = native_base(interpreter, class);
        let (kind, is_exact) = kind_of(native);
        let is_python_class = native != class;
        // SAFETY: these are fields of every type object.
        let (basic_size, item_size, flags) = unsafe {
            (
                class.read::<isize>(slot::BASIC_SIZE),
                class.read::<isize>(slot::ITEM_SIZE),
                class.read::<u64>(slot::FLAGS),
            )
        };
        let traverse = if flags_of(native) & FLAG_HAVE_GC != 0 { traverse_of(native) } else { None };
        let dict = dict_place(interpreter, class, flags);
        let (slots, members) = members_of(interpreter, class);
        let sizeof = sizeof_of(interpreter, native, kind);
        let shows_nothing = traverse.is_none() && members.is_empty() && slots.is_empty();
        let is_leaf = shows_nothing && dict == DictPlace::None && !has_hidden_edges(kind);
        Self {
            class,
            kind,
            is_exact,
            is_collected: flags & FLAG_HAVE_GC != 0,
            is_python_class,
            basic_size: basic_size.unsigned_abs(),
            // SAFETY: a field of every type object.
            native_size: unsafe { native.read::<isize>(slot::BASIC_SIZE) }.unsigned_abs(),
            item_size: item_size.unsigned_abs(),
            pre_size: pre_size(interpreter, flags),
            dict,
            traverse,
            is_foreign: traverse.is_some_and(is_foreign),
            // SAFETY: the slot holds null or such a function.
            is_gc: unsafe { class.read::<Option<IsGc>>(slot::IS_GC) },
            slots,
            members,
            is_frame: is_python_class && is_pandas_frame(class),
            sizeof,
            is_leaf,
        }
    }

    /// What the type's own `__sizeof__` says, where that is C of the standard library.
    pub fn stated_size(&self, object: Object) -> Option<usize> {
        let sizeof = self.sizeof?;
        // SAFETY: the function is that of a native base of the object's type; it takes no argument; we hold the GIL.
        let result = unsafe { sizeof(object.pointer(), std::ptr::null_mut()) };
        if result.is_null() {
            // SAFETY: an exception is set; it is nobody's business here.
            unsafe { ffi::PyErr_Clear() };
            return None;
        }
        // SAFETY: the result is an object of which we own a reference.
        let size = unsafe { ffi::PyLong_AsLongLong(result) };
        // SAFETY: as above; a result that is no number of this size has set an exception.
        unsafe {
            ffi::Py_DecRef(result);
            ffi::PyErr_Clear();
        }
        usize::try_from(size).ok()
    }

    /// Whether the collector could track the object.
    #[inline]
    pub fn is_tracked(&self, object: Object) -> bool {
        // SAFETY: the object is an instance of this type.
        self.is_gc.is_none_or(|is_gc| unsafe { is_gc(object.pointer()) } != 0)
    }

    /// "module.Class", or "list".
    pub fn name(&self) -> String {
        type_name(self.class)
    }
}

/// The `tp_name` of a type. A Python class has only its last part there.
pub fn type_name(class: Object) -> String {
    // SAFETY: every type has a name that is a C string.
    unsafe { c_text(class.read(slot::NAME)) }
}

/// Whether a type stands on the heap: a class, or one that a module made.
pub fn is_heap_type(class: Object) -> bool {
    flags_of(class) & FLAG_HEAP_TYPE != 0
}

/// `tp_flags`.
pub fn flags_of(class: Object) -> u64 {
    // SAFETY: a field of every type object.
    unsafe { class.read(slot::FLAGS) }
}

/// `tp_base`.
pub fn base_of(class: Object) -> Option<Object> {
    // SAFETY: a field of every type object.
    unsafe { class.field(slot::BASE) }
}

/// By the name of a class along the bases; what it is not shows when its columns are read.
fn is_pandas_frame(class: Object) -> bool {
    std::iter::successors(Some(class), |class| base_of(*class)).any(|class| type_name(class) == "DataFrame")
}

/// Whether a type is complete (`Py_TPFLAGS_READY`).
pub fn is_ready(class: Object) -> bool {
    flags_of(class) & (1 << 12) != 0
}

/// Whether the instances of a type are types (`Py_TPFLAGS_TYPE_SUBCLASS`).
pub fn makes_classes(class: Object) -> bool {
    flags_of(class) & (1 << 31) != 0
}

/// By the file that the function is in.
fn is_foreign(traverse: Traverse) -> bool {
    let file = |function: *const c_void| {
        // SAFETY: the structure is plain data, which the call fills or leaves; a name in it lives as long as its library.
        unsafe {
            let mut information: libc::Dl_info = std::mem::zeroed();
            libc::dladdr(function, &raw mut information);
            c_text(information.dli_fname)
        }
    };
    // SAFETY: a static type of the interpreter's.
    let own = unsafe { Object::of((&raw mut ffi::PyList_Type).cast()).read::<usize>(slot::TRAVERSE) };
    let name = file(traverse as *const c_void);
    name != file(own as *const c_void) && !name.contains("/lib-dynload/")
}

fn traverse_of(class: Object) -> Option<Traverse> {
    // SAFETY: the slot holds null or such a function.
    unsafe { class.read::<Option<Traverse>>(slot::TRAVERSE) }
}

fn is_python_class(interpreter: &Interpreter, class: Object) -> bool {
    // SAFETY: a field of every type object.
    is_heap_type(class) && unsafe { class.read::<usize>(slot::DEALLOC) } == interpreter.subtype_dealloc
}

/// The first type along the bases that is not made by a `class` statement.
fn native_base(interpreter: &Interpreter, class: Object) -> Object {
    let mut native = class;
    while is_python_class(interpreter, native) {
        match base_of(native) {
            Some(base) => native = base,
            None => break,
        }
    }
    native
}

/// The kind of a native type, and whether it is the type itself that is known rather than one of its bases.
fn kind_of(native: Object) -> (Kind, bool) {
    let mut class = Some(native);
    while let Some(known) = class {
        let name = type_name(known);
        if let Some((_, kind)) = KINDS.iter().find(|(text, _)| *text == name) {
            return (*kind, known == native);
        }
        class = base_of(known);
    }
    (Kind::Other, true)
}

/// Kinds with references that no `tp_traverse` shows.
fn has_hidden_edges(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::BytesIo
            | Kind::StringIo
            | Kind::DateTime
            | Kind::TimeZone
            | Kind::Range
            | Kind::NumpyArray
            | Kind::NumpyDtype
            | Kind::Native(_)
    )
}

fn pre_size(interpreter: &Interpreter, flags: u64) -> usize {
    let head = if flags & FLAG_HAVE_GC != 0 { GC_HEAD } else { 0 };
    let managed = match interpreter.layout.minor {
        ..11 => 0,
        11 => flags & FLAG_MANAGED_DICT,
        _ => flags & (FLAG_MANAGED_DICT | FLAG_MANAGED_WEAKREF),
    };
    head + if managed != 0 { 16 } else { 0 }
}

fn dict_place(interpreter: &Interpreter, class: Object, flags: u64) -> DictPlace {
    let minor = interpreter.layout.minor;
    if minor >= 11 && flags & FLAG_MANAGED_DICT != 0 {
        // SAFETY: a field of every type object.
        let basic_size = unsafe { class.read::<usize>(slot::BASIC_SIZE) };
        let inline = (minor >= 13 && flags & FLAG_INLINE_VALUES != 0).then_some(basic_size);
        return DictPlace::Managed { inline };
    }
    // SAFETY: a field of every type object.
    match unsafe { class.read::<isize>(slot::DICT_OFFSET) } {
        0 => DictPlace::None,
        offset => DictPlace::Offset(offset),
    }
}

/// `PyMemberDef`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MemberDefinition {
    name: *const c_char,
    kind: c_int,
    offset: isize,
    flags: c_int,
    doc: *const c_char,
}

/// Fields with names, of Python classes and of C types, the class's own first.
fn members_of(interpreter: &Interpreter, class: Object) -> (Vec<Member>, Vec<Member>) {
    let (mut slots, mut members) = (Vec::new(), Vec::new());
    let mut current = Some(class);
    while let Some(class) = current {
        let list = if is_python_class(interpreter, class) { &mut slots } else { &mut members };
        own_members(class, list);
        current = base_of(class);
    }
    (slots, members)
}

fn own_members(class: Object, list: &mut Vec<Member>) {
    // SAFETY: the slot holds null or an array that ends with a definition without a name.
    let mut next = unsafe { class.read::<*const MemberDefinition>(slot::MEMBERS) };
    // SAFETY: as above.
    while let Some(definition) = unsafe { next.as_ref() }.copied().filter(|definition| !definition.name.is_null()) {
        if MEMBER_OBJECT.contains(&definition.kind) && definition.flags & MEMBER_RELATIVE == 0 {
            list.push(Member { offset: definition.offset, name: definition.name });
        }
        // SAFETY: the array goes on, for this was not its end.
        next = unsafe { next.add(1) };
    }
}

/// `PyMethodDef` without its documentation.
#[repr(C)]
struct MethodDefinition {
    name: *const c_char,
    function: Option<NoArguments>,
    flags: c_int,
}

/// `offsetof(PyMethodDescrObject, d_method)` and `d_type`.
const DESCRIPTOR_METHOD: isize = 40;
const DESCRIPTOR_TYPE: isize = 16;

/// The `__sizeof__` that a native type of the standard library defines in C, where we do not know the layout ourselves.
fn sizeof_of(interpreter: &Interpreter, native: Object, kind: Kind) -> Option<NoArguments> {
    let is_ours = !matches!(kind, Kind::Other | Kind::OrderedDict | Kind::Frame | Kind::Code | Kind::Type);
    if is_ours || native.type_of() != interpreter.type_type || !is_trusted(&type_name(native)) {
        return None;
    }
    // SAFETY: the metaclass is `type` itself, so that no code but the interpreter's runs; we hold the GIL.
    let descriptor = unsafe { ffi::PyObject_GetAttr(native.pointer(), interpreter.sizeof_name.pointer()) };
    if descriptor.is_null() {
        // SAFETY: the exception is nobody's business here.
        unsafe { ffi::PyErr_Clear() };
        return None;
    }
    let function = method_function(interpreter, Object::of(descriptor));
    // SAFETY: the type keeps the descriptor alive.
    unsafe { ffi::Py_DecRef(descriptor) };
    function
}

fn method_function(interpreter: &Interpreter, descriptor: Object) -> Option<NoArguments> {
    if descriptor.type_of() != interpreter.method_descriptor_type {
        return None;
    }
    // SAFETY: the fields of a method descriptor.
    let (owner, method) =
        unsafe { (descriptor.field(DESCRIPTOR_TYPE)?, descriptor.read::<*const MethodDefinition>(DESCRIPTOR_METHOD)) };
    // SAFETY: a method descriptor has a definition.
    let method = unsafe { method.as_ref() }?;
    // object.__sizeof__ is the plain formula, which we have.
    if owner == interpreter.object_type || method.flags != METHOD_NO_ARGUMENTS { None } else { method.function }
}

fn is_trusted(name: &str) -> bool {
    name.rsplit_once('.').is_none_or(|(module, _)| TRUSTED_MODULES.contains(&module))
}

/// The types met in a walk.
pub struct TypeTable<'a> {
    pub interpreter: &'a Interpreter,
    known: FxHashMap<Object, Rc<TypeFacts>>,
    recent: [Option<(Object, Rc<TypeFacts>)>; RECENT],
}

/// Slots of the small cache in front of the table.
const RECENT: usize = 64;

impl<'a> TypeTable<'a> {
    pub fn new(interpreter: &'a Interpreter) -> Self {
        Self { interpreter, known: FxHashMap::default(), recent: [const { None }; RECENT] }
    }

    /// What is known of a type. No type dies in a walk, for no code runs.
    #[inline]
    pub fn of(&mut self, class: Object) -> &Rc<TypeFacts> {
        let slot = (class.address() >> 4) % RECENT;
        if self.recent[slot].as_ref().is_none_or(|(known, _)| *known != class) {
            self.remember(slot, class);
        }
        match &self.recent[slot] {
            Some((_, facts)) => facts,
            None => unreachable!("the slot was just filled"),
        }
    }

    /// Whether instances of the type were met.
    pub fn knows(&self, class: Object) -> bool {
        self.known.contains_key(&class)
    }

    #[cold]
    #[inline(never)]
    fn remember(&mut self, slot: usize, class: Object) {
        let interpreter = self.interpreter;
        let facts = self.known.entry(class).or_insert_with(|| Rc::new(TypeFacts::new(interpreter, class)));
        self.recent[slot] = Some((class, Rc::clone(facts)));
    }
}

impl TypeFacts {
    /// Whether an object of this type accounts for the memory that a view of it shows.
    pub fn shows_its_memory(&self) -> bool {
        let is_known = matches!(self.kind, Kind::NumpyArray | Kind::Bytes | Kind::ByteArray | Kind::Mmap | Kind::Str);
        is_known || ["memoryview", "array.array"].contains(&self.name().as_str())
    }
}
