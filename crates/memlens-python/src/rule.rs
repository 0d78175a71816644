//! What is left out of an object's size, though the object refers to it: what belongs to the program or to everybody.
use crate::interpreter::Interpreter;
use crate::layout::Layout;
use crate::numpy;
use crate::object::Object;
use crate::size;
use crate::type_facts::{Kind, TypeFacts, TypeTable};
use pyo3::ffi;
use rustc_hash::FxHashSet;

/// What is counted although it is left out by rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Included {
    /// Modules, and what only they lead to.
    pub modules: bool,
    /// Classes.
    pub classes: bool,
    /// Code objects.
    pub code: bool,
    /// Interned strings.
    pub interned: bool,
}

impl Included {
    /// The names by which a caller asks.
    pub const NAMES: [&str; 4] = ["modules", "classes", "code", "interned"];

    /// Includes what is named; whether the name is known.
    pub fn add(&mut self, name: &str) -> bool {
        match name {
            "modules" => self.modules = true,
            "classes" => self.classes = true,
            "code" => self.code = true,
            "interned" => self.interned = true,
            _ => return false,
        }
        true
    }

    /// Whether references to what belongs elsewhere are followed at all.
    pub fn follows_outside(self) -> bool {
        self.modules || self.classes || self.code
    }
}

/// The rules of one walk.
pub struct Rules {
    included: Included,
    /// The dicts of modules.
    namespaces: FxHashSet<Object>,
}

/// `offsetof(PyModuleObject, md_dict)`.
pub const MODULE_DICT: isize = 16;
/// `offsetof(PyCFunctionObject, m_self)`.
pub const FUNCTION_SELF: isize = 24;

impl Rules {
    pub fn new(types: &mut TypeTable<'_>, included: Included) -> Self {
        let namespaces = if included.modules { FxHashSet::default() } else { module_dicts(types) };
        Self { included, namespaces }
    }

    /// Whether nothing that lives for ever is counted.
    pub fn skips_immortal(&self) -> bool {
        !self.included.interned
    }

    pub fn follows_outside(&self) -> bool {
        self.included.follows_outside()
    }

    /// Whether an object is left out where it is met (not where the walk begins).
    #[inline]
    pub fn leaves_out(&self, object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> bool {
        if interpreter.is_everybodys(object) {
            return !(self.included.interned && facts.kind == Kind::Str && is_memory(object, interpreter));
        }
        match facts.kind {
            // SAFETY: it is a str.
            Kind::Str => !self.included.interned && unsafe { size::is_interned(object) },
            Kind::Module => !self.included.modules,
            Kind::Type => !self.included.classes,
            Kind::Code => !self.included.code,
            Kind::Frame => false,
            Kind::Dict => self.namespaces.contains(&object),
            Kind::BuiltinFunction => !self.included.modules && belongs_to_module(object),
            Kind::NumpyDtype => numpy::is_builtin_dtype(object),
            _ => false,
        }
    }
}

/// A string that lives for ever was still allocated, unless it is part of the interpreter's image.
fn is_memory(string: Object, interpreter: &Interpreter) -> bool {
    // SAFETY: it is a str.
    interpreter.layout.minor >= 12 && unsafe { !crate::text::is_static(string) }
}

/// A function of C that is no bound method.
fn belongs_to_module(function: Object) -> bool {
    // SAFETY: the field of a function of C.
    match unsafe { function.field(FUNCTION_SELF) } {
        None => true,
        Some(owner) => crate::type_facts::type_name(owner.type_of()) == "module",
    }
}

/// The dicts of all modules in `sys.modules`.
pub fn module_dicts(types: &mut TypeTable<'_>) -> FxHashSet<Object> {
    let layout: &Layout = types.interpreter.layout;
    let mut found = FxHashSet::default();
    // SAFETY: we hold the GIL; the result is borrowed.
    let Some(modules) = Object::at(unsafe { ffi::PyImport_GetModuleDict() } as usize) else {
        return found;
    };
    if types.of(modules.type_of()).kind != Kind::Dict {
        return found;
    }
    let mut members = Vec::new();
    // SAFETY: it is a dict.
    unsafe { crate::dict::items(modules, layout, |_, module| members.push(module)) };
    for module in members {
        if types.of(module.type_of()).kind == Kind::Module {
            // SAFETY: it is a module.
            found.extend(unsafe { module.field(MODULE_DICT) });
        }
    }
    found
}
