//! The exceptions of `memlens`, which are classes of its Python side.
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// `memlens.ArgumentError`.
pub fn argument(python: Python<'_>, message: &str) -> PyErr {
    make(python, "ArgumentError", message)
}

/// `memlens.UnsupportedError`.
pub fn unsupported(python: Python<'_>, message: &str) -> PyErr {
    make(python, "UnsupportedError", message)
}

/// `memlens.FileError`.
pub fn file(python: Python<'_>, message: &str) -> PyErr {
    make(python, "FileError", message)
}

/// `memlens.Error` itself.
pub fn other(python: Python<'_>, message: &str) -> PyErr {
    make(python, "Error", message)
}

fn make(python: Python<'_>, class: &str, message: &str) -> PyErr {
    let made = python.import("memlens._errors").and_then(|errors| errors.getattr(class)?.call1((message,)));
    // Loaded by itself into a program (`memlens heap PID`), the module has no Python side.
    made.map_or_else(|_| PyRuntimeError::new_err(message.to_owned()), PyErr::from_value)
}
