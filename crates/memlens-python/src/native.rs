//! The second phase of a walk: buffers that only their own library can tell.
//!
//! The objects were gathered by the walk. Now each library is asked, by methods of its own extension types (pyarrow's `buffers`,
//! polars' `__arrow_c_stream__`, pandas' `sizeof` of a hash table): code of the library, none of the program's. The walk is
//! over by then, and each object is held by a reference while it is asked, so that nothing hangs on what else may run.
use crate::arrow::{self, Holdings, Stream};
use crate::object::Object;
use crate::region::{Region, RegionKind, Regions};
use crate::type_facts::Native;
use pyo3::ffi::PyCapsule_GetPointer;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;

/// What a library said of an object.
#[derive(Default)]
pub struct Answer {
    pub regions: Regions,
    /// Bytes without an address.
    pub own_bytes: u64,
    /// Bytes of the regions that the object shows, if it does not show all.
    pub shown_bytes: Option<u64>,
    /// The same of the buffer at an address, where that is known.
    shown: FxHashMap<usize, u64>,
}

impl Answer {
    /// How much of one of its regions the object shows: a slice shows about the same part of each.
    pub fn used_of(&self, region: Region) -> u64 {
        if let Some(shown) = self.shown.get(&region.address) {
            return *shown;
        }
        let all: u64 = self.regions.all().iter().map(|region| region.bytes as u64).sum();
        match self.shown_bytes {
            Some(shown) if shown < all => (region.bytes as u128 * u128::from(shown) / u128::from(all.max(1))) as u64,
            _ => region.bytes as u64,
        }
    }
}

/// Asks about each object.
pub fn ask(python: Python<'_>, natives: &[(Object, Native)]) -> Vec<Answer> {
    let held: Vec<Bound<'_, PyAny>> = natives
        .iter()
        // SAFETY: the walk has just met the object, and nothing has run since.
        .map(|(object, _)| unsafe { Bound::from_borrowed_ptr(python, object.pointer()) })
        .collect();
    held.iter().zip(natives).map(|(object, (_, native))| answer(object, *native)).collect()
}

fn answer(object: &Bound<'_, PyAny>, native: Native) -> Answer {
    let mut answer = Answer::default();
    let result = match native {
        Native::ArrowBuffer => add_buffer(object, &mut answer.regions),
        Native::ArrowArray => add_array(object, &mut answer.regions),
        Native::ArrowChunked => add_chunked(object, &mut answer.regions),
        Native::ArrowTable => add_table(object, &mut answer.regions),
        Native::PolarsFrame | Native::PolarsSeries => add_polars(object, &mut answer),
        Native::PandasTable => add_hash_table(object, &mut answer),
    };
    if result.is_err() {
        // A version of the library that answers otherwise: what it did tell counts, no more.
        return answer;
    }
    if matches!(native, Native::ArrowArray | Native::ArrowChunked | Native::ArrowTable) {
        answer.shown_bytes = object.getattr("nbytes").and_then(|bytes| bytes.extract()).ok();
    }
    answer
}

/// The whole buffer, of which this one may be a part.
fn add_buffer(buffer: &Bound<'_, PyAny>, regions: &mut Regions) -> PyResult<()> {
    let mut whole = buffer.clone();
    loop {
        let parent = whole.getattr("parent")?;
        if parent.is_none() {
            break;
        }
        whole = parent;
    }
    if whole.getattr("is_cpu")?.is_truthy()? {
        let (address, bytes) = (whole.getattr("address")?.extract()?, whole.getattr("size")?.extract()?);
        regions.push(Region { address, bytes, kind: RegionKind::Heap });
    }
    Ok(())
}

fn add_array(array: &Bound<'_, PyAny>, regions: &mut Regions) -> PyResult<()> {
    for buffer in array.call_method0("buffers")?.try_iter()? {
        let buffer = buffer?;
        if !buffer.is_none() {
            add_buffer(&buffer, regions)?;
        }
    }
    if array.hasattr("dictionary")? {
        add_array(&array.getattr("dictionary")?, regions)?;
    }
    Ok(())
}

fn add_chunked(chunked: &Bound<'_, PyAny>, regions: &mut Regions) -> PyResult<()> {
    for chunk in chunked.getattr("chunks")?.try_iter()? {
        add_array(&chunk?, regions)?;
    }
    Ok(())
}

/// A table's columns are chunked; a record batch's are arrays.
fn add_table(table: &Bound<'_, PyAny>, regions: &mut Regions) -> PyResult<()> {
    for column in table.getattr("columns")?.try_iter()? {
        let column = column?;
        if column.hasattr("chunks")? { add_chunked(&column, regions)? } else { add_array(&column, regions)? }
    }
    Ok(())
}

/// Without a copy, where polars keeps the values as Arrow does; a column that it cannot export is estimated by polars itself.
fn add_polars(object: &Bound<'_, PyAny>, answer: &mut Answer) -> PyResult<()> {
    let mut holdings = Holdings::default();
    let exported = object.call_method1("__arrow_c_stream__", (object.py().None(),)).is_ok_and(|capsule| {
        // SAFETY: the capsule holds a stream under this name, or the call fails; the capsule outlives the use.
        unsafe {
            let stream = PyCapsule_GetPointer(capsule.as_ptr(), c"arrow_array_stream".as_ptr()).cast::<Stream>();
            if stream.is_null() {
                pyo3::ffi::PyErr_Clear();
                return false;
            }
            arrow::add_stream(stream, &mut holdings)
        }
    });
    answer.regions.extend(holdings.regions.all().iter().copied());
    answer.shown = holdings.shown;
    if !exported {
        answer.own_bytes += object.call_method0("estimated_size")?.extract::<u64>()?;
    }
    Ok(())
}

fn add_hash_table(table: &Bound<'_, PyAny>, answer: &mut Answer) -> PyResult<()> {
    answer.own_bytes += table.call_method0("sizeof")?.extract::<u64>()?;
    Ok(())
}
