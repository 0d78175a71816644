//! The native part of the Python module `memlens`: thin conversion around a walk that reads live objects by layout.
//!
//! Read `walk` first. `object`, `layout` and `dict` say how objects lie in memory; `type_facts` what is known of a type; `edge` and
//! `size` what an object refers to and how large it is; `rule` what is left out.
mod arrow;
mod dict;
mod edge;
mod interpreter;
mod layout;
mod marks;
mod native;
mod numpy;
mod object;
mod region;
mod rule;
mod size;
mod type_facts;
mod walk;

use interpreter::Interpreter;
use object::Object;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rule::Included;
use std::sync::OnceLock;
use walk::Walk;

/// What is constant in the interpreter, found when it is first needed.
fn interpreter(python: Python<'_>) -> PyResult<&'static Interpreter> {
    static INTERPRETER: OnceLock<Interpreter> = OnceLock::new();
    if let Some(known) = INTERPRETER.get() {
        return Ok(known);
    }
    let found = Interpreter::new(python)?;
    Ok(INTERPRETER.get_or_init(|| found))
}

/// Deep size in bytes of the objects, each object and buffer once.
#[pyfunction]
#[pyo3(signature = (*objects))]
fn sizeof(python: Python<'_>, objects: &Bound<'_, PyTuple>) -> PyResult<u64> {
    let mut walk = Walk::new(interpreter(python)?, Included::default());
    for object in objects.iter() {
        walk.add(Object::of(object.as_ptr()));
    }
    Ok(walk.finish(python).deep_bytes())
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::sizeof;
}
