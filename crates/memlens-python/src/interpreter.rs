//! What is constant in one interpreter: its layout, types that no header names, and objects that are everybody's.
use crate::dict;
use crate::layout::{self, Layout, type_object as slot};
use crate::object::Object;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};
use pyo3::{ffi, intern};
use rustc_hash::FxHashSet;

/// Facts of the running interpreter, found once.
pub struct Interpreter {
    pub layout: &'static Layout,
    /// `subtype_dealloc`: the mark of a class that a `class` statement made.
    pub subtype_dealloc: usize,
    /// What `tp_finalize` is in a class with a `__del__`.
    pub python_finalizer: usize,
    /// The string `__sizeof__`, kept for ever: asking for an attribute by a C string leaves a string behind in 3.12.
    pub sizeof_name: Object,
    pub code_type: Object,
    pub type_type: Object,
    pub object_type: Object,
    pub method_descriptor_type: Object,
    /// The table that all empty dicts share.
    pub empty_keys: usize,
    /// Before 3.12 nothing is marked immortal: these are what every program shares.
    singletons: FxHashSet<Object>,
}

impl Interpreter {
    pub fn new(python: Python<'_>) -> PyResult<Self> {
        let version = python.version_info();
        let layout = layout::of_version(version.major.into(), version.minor.into());
        let layout = layout.map_err(|error| crate::error::unsupported(python, &error.to_string()))?;
        let compile = python.import("builtins")?.getattr("compile")?;
        let code = compile.call1(("0", "memlens", "eval"))?;
        let members = PyDict::new(python);
        members.set_item("__del__", python.None())?;
        let class = python.get_type::<PyType>().call1(("memlens_probe", (), members))?;
        let object_type = Object::of((&raw mut ffi::PyBaseObject_Type).cast());
        let descriptor = python.get_type::<pyo3::types::PyList>().getattr(intern!(python, "append"))?;
        // SAFETY: both are what they are called.
        let (subtype_dealloc, python_finalizer, empty_keys) = unsafe {
            let class = Object::of(class.as_ptr());
            let empty = PyDict::new(python);
            (class.read(slot::DEALLOC), class.read(slot::FINALIZE), dict::keys_address(Object::of(empty.as_ptr())))
        };
        Ok(Self {
            layout,
            subtype_dealloc,
            python_finalizer,
            sizeof_name: Object::of(PyString::intern(python, "__sizeof__").into_ptr()),
            code_type: Object::of(code.as_ptr()).type_of(),
            type_type: Object::of((&raw mut ffi::PyType_Type).cast()),
            object_type,
            method_descriptor_type: Object::of(descriptor.as_ptr()).type_of(),
            empty_keys,
            singletons: singletons(python)?,
        })
    }

    /// Whether an object belongs to nobody: it lives as long as the interpreter.
    #[inline]
    pub fn is_everybodys(&self, object: Object) -> bool {
        object.reference_count(self.layout).is_none() || (self.layout.minor < 12 && self.singletons.contains(&object))
    }
}

/// Small ints, one-letter strings and bytes, the empty ones, None and its like.
fn singletons(python: Python<'_>) -> PyResult<FxHashSet<Object>> {
    let list = python.eval(
        c"[None, True, False, Ellipsis, NotImplemented, (), b'', '', frozenset()] + list(range(-5, 257)) \
          + [chr(i) for i in range(256)] + [bytes([i]) for i in range(256)]",
        None,
        None,
    )?;
    list.try_iter()?.map(|item| Ok(Object::of(item?.as_ptr()))).collect()
}
