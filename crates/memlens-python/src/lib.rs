//! The native part of the Python module `memlens`: thin conversion around a walk that reads live objects by layout.
//!
//! Read `walk` first. `object`, `layout` and `dict` say how objects lie in memory; `type_facts` what is known of a type; `edge` and
//! `size` what an object refers to and how large it is; `rule` what is left out.
mod arrow;
mod class_name;
mod coder;
mod collector;
mod ctypes;
mod dict;
mod doubt;
mod edge;
mod error;
mod fact;
mod fork;
mod frame;
mod graph_walk;
mod heap;
mod heap_count;
mod interpreter;
mod layout;
mod marks;
mod memory;
mod native;
mod numbering;
mod numpy;
mod object;
mod pandas;
mod polars;
mod region;
mod rule;
mod size;
mod snapshot;
mod text;
mod thread;
mod tree;
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

/// Deep size in bytes of the objects together, each object and buffer once.
#[pyfunction]
#[pyo3(signature = (obj, /, *more, include = None))]
fn sizeof(obj: &Bound<'_, PyAny>, more: &Bound<'_, PyTuple>, include: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    let python = obj.py();
    let mut walk = Walk::new(interpreter(python)?, included(python, include)?);
    walk.add(Object::of(obj.as_ptr()));
    for object in more.iter() {
        walk.add(Object::of(object.as_ptr()));
    }
    Ok(walk.finish(python).deep_bytes())
}

/// A node as Python takes it: label, type, seven numbers, children.
type PyNode = (String, String, [u64; 7], Vec<Py<PyAny>>);

/// The sizes of an object and of its parts.
#[pyfunction]
fn size_tree(obj: &Bound<'_, PyAny>, depth: usize, include: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let python = obj.py();
    let included = included(python, include)?;
    let node = tree::build(python, interpreter(python)?, Object::of(obj.as_ptr()), included, depth);
    to_python(python, node.map_err(|error| error::argument(python, &error.to_string()))?)
}

fn to_python(python: Python<'_>, node: tree::Node) -> PyResult<Py<PyAny>> {
    let sizes = [node.shallow, node.deep, node.retained, node.pinned, node.opaque, node.file, node.count];
    let children = node.children.into_iter().map(|child| to_python(python, child));
    let node: PyNode = (node.label, node.type_name, sizes, children.collect::<PyResult<_>>()?);
    Ok(node.into_pyobject(python)?.into_any().unbind())
}

/// What `include=` asks for: a name or several.
fn included(python: Python<'_>, names: Option<&Bound<'_, PyAny>>) -> PyResult<Included> {
    let mut included = Included::default();
    let Some(names) = names else {
        return Ok(included);
    };
    let names: Vec<String> = match names.extract::<String>() {
        Ok(name) => vec![name],
        Err(_) => names
            .try_iter()
            .and_then(|names| names.map(|name| name?.extract::<String>()).collect())
            .map_err(|_| error::argument(python, "include must be names, such as (\"modules\",)"))?,
    };
    for name in names {
        if !included.add(&name) {
            let known = Included::NAMES.join(", ");
            return Err(error::argument(python, &format!("include={name:?}: not one of {known}")));
        }
    }
    Ok(included)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{size_tree, sizeof};
    #[pymodule_export]
    use crate::snapshot::{Heap, load, take, take_into};
}
