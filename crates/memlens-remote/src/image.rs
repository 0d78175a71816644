//! Where `_PyRuntime` lies in a process: in the program's own file, or in a shared libpython.
use crate::process::{Mapping, Process};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, ReadCache, ReadRef};
use std::path::Path;

/// What a file with an interpreter in it says, in the process's addresses.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) runtime: u64,
    /// `Py_Version`, which holds `PY_VERSION_HEX` since 3.11.
    pub(crate) version: Option<u64>,
}

/// The interpreter in a process, if there is one.
pub(crate) fn find(process: &Process) -> Option<Image> {
    let program = process.program()?;
    let is_candidate = |mapping: &Mapping| mapping.path == program || is_library(&mapping.path);
    process.mappings().iter().filter(|mapping| is_candidate(mapping)).find_map(|mapping| read(process, mapping))
}

fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libpython"))
}

fn read(process: &Process, mapping: &Mapping) -> Option<Image> {
    let cache = ReadCache::new(process.open_mapped(mapping).ok()?);
    let file = object::File::parse(&cache).ok()?;
    let symbol = |name: &str| file.dynamic_symbols().find(|symbol| symbol.name() == Ok(name));
    let address = |name: &str| symbol(name).filter(|symbol| symbol.is_definition()).map(|symbol| symbol.address());
    // Its own section since 3.13, for debuggers; a symbol for extension modules before that.
    let section = file.section_by_name(".PyRuntime").map(|section| section.address());
    let runtime = section.or_else(|| address("_PyRuntime"))?;
    let shift = mapping.start.wrapping_sub(first_address(&file)?);
    Some(Image {
        runtime: runtime.wrapping_add(shift),
        version: address("Py_Version").map(|at| at.wrapping_add(shift)),
    })
}

/// The address for which the file's beginning was linked.
fn first_address<'f>(file: &object::File<'f, impl ReadRef<'f>>) -> Option<u64> {
    file.segments().map(|segment| segment.address()).min().map(|address| address & !0xfff)
}
