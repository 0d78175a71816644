//! The columns of a pandas frame by name, though its blocks keep several in one array.
//!
//! Read of pandas' own attributes, after the walk: blocks and their places are Cython's, labels are read of the index's array. No method of the
//! frame runs, nor of a class derived from it.
use crate::numpy::{self, Extent};
use crate::object::Object;
use crate::text;
use crate::type_facts::{TypeTable, type_name};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

/// A column.
pub struct Column {
    /// The `repr` of its label.
    pub label: String,
    /// Its part of a block of numbers.
    pub extent: Option<Extent>,
    /// The objects in it, or the array that is its alone.
    pub objects: Vec<Object>,
}

/// Elements of a column beyond this many are not named.
const MOST_ELEMENTS: usize = 2_000_000;

/// The columns of a frame; none if it is built in a way that we do not know.
pub fn columns(frame: &Bound<'_, PyAny>, types: &mut TypeTable<'_>) -> Vec<Column> {
    read(frame, types).unwrap_or_default()
}

fn read(frame: &Bound<'_, PyAny>, types: &mut TypeTable<'_>) -> PyResult<Vec<Column>> {
    let manager = attribute(frame, "_mgr")?;
    let labels = labels(&manager.getattr("axes")?.get_item(0)?)?;
    let mut columns = Vec::new();
    for block in manager.getattr("blocks")?.try_iter()? {
        let block = block?;
        let values = block.getattr("values")?;
        let places: Vec<usize> = block.getattr("mgr_locs")?.getattr("as_array")?.call_method0("tolist")?.extract()?;
        for (row, place) in places.iter().enumerate() {
            let label = text::repr(Object::of(labels.get_item(*place)?.as_ptr()), types);
            columns.push(column(label, &values, row, places.len()));
        }
    }
    Ok(columns)
}

fn column(label: String, values: &Bound<'_, PyAny>, row: usize, count: usize) -> Column {
    let values = Object::of(values.as_ptr());
    if type_name(values.type_of()) != "numpy.ndarray" {
        // An extension array: of one column.
        return Column { label, extent: None, objects: if count == 1 { vec![values] } else { Vec::new() } };
    }
    let extent = numpy::row(values, row);
    let objects = extent.filter(|_| numpy::has_objects(values)).map(numpy::objects_in).unwrap_or_default();
    Column { label, extent, objects: if objects.len() <= MOST_ELEMENTS { objects } else { Vec::new() } }
}

/// The labels of an index, as a list.
fn labels<'py>(index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    if let Ok(range) = attribute(index, "_range") {
        let numbers: Vec<Bound<'py, PyAny>> = range.try_iter()?.collect::<PyResult<_>>()?;
        return PyList::new(index.py(), numbers);
    }
    let data = attribute(index, "_data")?;
    let list = if let Ok(arrow) = attribute(&data, "_pa_array") {
        arrow.call_method0("to_pylist")?
    } else {
        attribute(&data, "_ndarray").unwrap_or(data).call_method0("tolist")?
    };
    Ok(list.cast_into::<PyList>()?)
}

/// As `object.__getattribute__` finds it: no method of the object's class is asked.
fn attribute<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let name = PyString::intern(object.py(), name);
    // SAFETY: both are objects; the result is a new reference or null with an exception set.
    unsafe {
        Bound::from_owned_ptr_or_err(object.py(), pyo3::ffi::PyObject_GenericGetAttr(object.as_ptr(), name.as_ptr()))
    }
}
