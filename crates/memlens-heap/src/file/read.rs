//! A file to a graph: nothing in it is believed before it is checked.
use super::chunk::ChunkReader;
use super::column::Column;
use super::{HEAP_VERSION, MAGIC};
use crate::column::{AddressColumn, SizeColumn};
use crate::graph::{Columns, Extras};
use crate::preorder::Search;
use crate::shape_table::{INDEXED, ShapeTable};
use crate::text_pool::TextPool;
use crate::{EdgeName, Error, Fact, FactKind, Frame, Graph, Meta, NameId, ObjectId, Root, RootKind, Type, TypeFlags};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Most values that a file of a given length can hold for each of its bytes, by the padding of chunks.
const VALUES_PER_BYTE: u64 = 32;

/// Reads a graph from a file.
pub fn load(path: &Path) -> Result<Graph, Error> {
    let cannot_open = |source| Error::CannotOpen { path: path.to_owned(), source };
    let file = File::open(path).map_err(cannot_open)?;
    let metadata = file.metadata().map_err(cannot_open)?;
    if metadata.is_dir() {
        return Err(cannot_open(std::io::Error::other("it is a folder")));
    }
    read(BufReader::with_capacity(1 << 18, file), metadata.len(), path)
}

/// Reads a graph of `length_bytes` bytes from anywhere. `path` is for messages only.
pub fn read(mut input: impl Read, length_bytes: u64, path: &Path) -> Result<Graph, Error> {
    check_header(&mut input, path)?;
    let chunks = ChunkReader::new(input, 12).map_err(|source| Error::CannotOpen { path: path.to_owned(), source })?;
    let mut decoder = Decoder { chunks, most_values: length_bytes.saturating_mul(VALUES_PER_BYTE) as usize };
    decoder.graph().map_err(|reason| {
        let reason = format!("{reason} (in the part at byte {})", decoder.chunks.offset());
        Error::Damaged { path: path.to_owned(), reason }
    })
}

fn check_header(input: &mut impl Read, path: &Path) -> Result<(), Error> {
    let path = || path.to_owned();
    let mut header = Vec::new();
    let taken = input.take(12).read_to_end(&mut header);
    taken.map_err(|source| Error::CannotOpen { path: path(), source })?;
    if header.len() < MAGIC.len() || header[..MAGIC.len()] != MAGIC {
        return Err(Error::NotASnapshot { path: path() });
    }
    let Some(&[a, b, c, d]) = header.get(8..12) else {
        return Err(Error::Damaged { path: path(), reason: "it is truncated within its first 12 bytes".to_owned() });
    };
    match u32::from_le_bytes([a, b, c, d]) {
        HEAP_VERSION => Ok(()),
        0 => Err(Error::Damaged { path: path(), reason: "it claims to have format version 0".to_owned() }),
        version => Err(Error::NewerVersion { path: path(), version, newest: HEAP_VERSION }),
    }
}

struct Decoder<R> {
    chunks: ChunkReader<R>,
    /// Values that a file of this length can hold.
    most_values: usize,
}

fn narrow(value: u64, below: usize, what: &'static str) -> Result<u32, &'static str> {
    if value < below as u64 { u32::try_from(value).map_err(|_| what) } else { Err(what) }
}

fn same_length(lengths: &[usize]) -> Result<usize, &'static str> {
    let first = lengths.first().copied().unwrap_or(0);
    if lengths.iter().all(|length| *length == first) { Ok(first) } else { Err("columns differ in length") }
}

/// The opposite of the difference that the `write` module makes.
fn undo_difference(value: u64, before: u64) -> u64 {
    let difference = (value >> 1) ^ (value & 1).wrapping_neg();
    before.wrapping_add(difference)
}

impl<R: Read> Decoder<R> {
    fn graph(&mut self) -> Result<Graph, String> {
        let meta = self.meta()?;
        let names = self.names()?;
        let types = self.types(names.len())?;
        let shapes = self.shapes(names.len())?;
        let columns = self.columns(&types, &shapes)?;
        let length = columns.len();
        if types.iter().filter_map(|type_| type_.class).any(|class| class.index() >= length) {
            return Err("a class is no object".to_owned());
        }
        let roots = self.roots(length, names.len())?;
        let extras = self.extras(length, names.len())?;
        self.chunks.end()?;
        let graph = Graph { meta, names, types, shapes, columns, roots, extras, ..Graph::default() };
        check_numbering(&graph)?;
        Ok(graph)
    }

    fn values(&mut self, column: Column) -> Result<Vec<u64>, String> {
        let mut values = Vec::new();
        self.chunks.column(column, |value| {
            values.push(value);
            Ok::<(), String>(())
        })?;
        Ok(values)
    }

    /// A column of numbers below `below`.
    fn numbers(&mut self, column: Column, below: usize, what: &'static str) -> Result<Vec<u32>, String> {
        let mut values = Vec::new();
        self.chunks.column(column, |value| {
            values.push(narrow(value, below, what)?);
            Ok::<(), &'static str>(())
        })?;
        Ok(values)
    }

    /// A column of lengths as the ends that they lead to.
    fn ends(&mut self, column: Column) -> Result<Vec<u32>, String> {
        let mut ends = Vec::new();
        let mut end = 0_u32;
        self.chunks.column(column, |length| {
            let length = u32::try_from(length).map_err(|_| "a length is out of range")?;
            end = end.checked_add(length).ok_or("a length is out of range")?;
            ends.push(end);
            Ok::<(), &'static str>(())
        })?;
        Ok(ends)
    }

    fn bytes(&mut self, column: Column) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.chunks.column(column, |value| {
            bytes.push(u8::try_from(value).map_err(|_| "a byte is out of range")?);
            Ok::<(), &'static str>(())
        })?;
        Ok(bytes)
    }

    fn meta(&mut self) -> Result<Meta, String> {
        let numbers = self.values(Column::MetaNumbers)?;
        let text = self.bytes(Column::MetaText)?;
        let &[pid, time_unix_ns, has_heap, heap, has_rss, rss, ref lengths @ ..] = numbers.as_slice() else {
            return Err("its description is incomplete".to_owned());
        };
        let mut rest = String::from_utf8(text).map_err(|_| "its description is not UTF-8")?;
        let mut texts = Vec::new();
        for length in lengths {
            let at = usize::try_from(*length).ok().filter(|at| rest.is_char_boundary(*at));
            let tail = rest.split_off(at.ok_or("its description has a wrong length")?);
            texts.push(std::mem::replace(&mut rest, tail));
        }
        let mut texts = texts.into_iter();
        Ok(Meta {
            python: texts.next().unwrap_or_default(),
            pid: u32::try_from(pid).map_err(|_| "a process id is out of range")?,
            command: texts.collect(),
            time_unix_ns,
            heap_bytes: (has_heap != 0).then_some(heap),
            rss_bytes: (has_rss != 0).then_some(rss),
        })
    }

    fn names(&mut self) -> Result<TextPool, String> {
        let ends = self.ends(Column::NameLengths)?;
        let bytes = self.bytes(Column::NameText)?;
        Ok(TextPool::from_parts(bytes, ends)?)
    }

    fn types(&mut self, names: usize) -> Result<Vec<Type>, String> {
        let type_names = self.numbers(Column::TypeNames, names, "a type has no name")?;
        let modules = self.numbers(Column::TypeModules, names, "a type has no module")?;
        let flags = self.numbers(Column::TypeFlags, 256, "a type has unknown flags")?;
        let classes = self.values(Column::TypeClasses)?;
        let length = same_length(&[type_names.len(), modules.len(), flags.len(), classes.len()])?;
        let class = |index: usize| match classes[index].checked_sub(1) {
            None => Ok(None),
            Some(class) => u32::try_from(class).map(|class| Some(ObjectId(class))).map_err(|_| "a class is no object"),
        };
        let type_ = |index: usize| {
            let (name, module) = (NameId(type_names[index]), NameId(modules[index]));
            Ok(Type { name, module, flags: TypeFlags(flags[index] as u8), class: class(index)? })
        };
        (0..length).map(type_).collect()
    }

    fn shapes(&mut self, names: usize) -> Result<ShapeTable, String> {
        let ends = self.ends(Column::ShapeLengths)?;
        let mut all = Vec::new();
        self.chunks.column(Column::ShapeNames, |bits| {
            let name = u32::try_from(bits).ok().and_then(|bits| EdgeName::from_bits(bits, names));
            all.push(name.ok_or("a reference has an unknown name")?);
            Ok::<(), &'static str>(())
        })?;
        Ok(ShapeTable::from_parts(all, ends).ok_or("names of references differ in length")?)
    }

    fn columns(&mut self, types: &[Type], shapes: &ShapeTable) -> Result<Columns, String> {
        let mut columns = Columns { edge_ends: self.ends(Column::Degrees)?, ..Columns::default() };
        columns.edge_ends.shrink_to_fit();
        let length = columns.edge_ends.len();
        if length >= u32::MAX as usize - 1 {
            return Err("it has too many objects".to_owned());
        }
        columns.types = self.object_numbers(Column::Types, length, types.len(), "an object has an unknown type")?;
        columns.shapes =
            self.object_numbers(Column::Shapes, length, shapes.len(), "a reference has an unknown name")?;
        columns.sizes = self.sizes(length)?;
        columns.addresses = self.addresses(length)?;
        let read = [&columns.types, &columns.shapes, &columns.sizes.small, &columns.addresses.low];
        if read.iter().any(|column| column.len() != length) {
            return Err("columns differ in length".to_owned());
        }
        check_shapes(&columns, shapes)?;
        columns.targets = self.targets(&columns.edge_ends)?;
        Ok(columns)
    }

    fn object_numbers(
        &mut self,
        column: Column,
        length: usize,
        below: usize,
        what: &'static str,
    ) -> Result<Vec<u32>, String> {
        let mut values = Vec::with_capacity(length);
        self.chunks.column(column, |value| {
            values.push(narrow(value, below, what)?);
            Ok::<(), &'static str>(())
        })?;
        Ok(values)
    }

    fn sizes(&mut self, length: usize) -> Result<SizeColumn, String> {
        let mut sizes = SizeColumn { small: Vec::with_capacity(length), large: Vec::new() };
        self.chunks.column(Column::Sizes, |size| {
            if sizes.small.len() == length {
                return Err("columns differ in length");
            }
            sizes.push(size);
            Ok(())
        })?;
        Ok(sizes)
    }

    fn addresses(&mut self, length: usize) -> Result<AddressColumn, String> {
        let mut addresses = AddressColumn { low: Vec::with_capacity(length), high: Vec::with_capacity(length) };
        let mut before = 0;
        self.chunks.column(Column::Addresses, |difference| {
            before = undo_difference(difference, before);
            addresses.push(before);
            if before >> 48 == 0 { Ok(()) } else { Err("an address is out of range") }
        })?;
        Ok(addresses)
    }

    fn targets(&mut self, ends: &[u32]) -> Result<Vec<u32>, String> {
        let total = ends.last().map_or(0, |end| *end as usize);
        let mut targets: Vec<u32> = Vec::with_capacity(total.min(self.most_values));
        let (mut object, mut before) = (0, 0);
        self.chunks.column(Column::Targets, |difference| {
            let mut is_first = targets.is_empty();
            while ends.get(object).is_some_and(|end| *end as usize <= targets.len()) {
                object += 1;
                is_first = true;
            }
            if is_first {
                before = object as u64;
            }
            before = undo_difference(difference, before);
            targets.push(narrow(before, ends.len(), "a reference leads nowhere")?);
            Ok::<(), &'static str>(())
        })?;
        same_length(&[targets.len(), total])?;
        Ok(targets)
    }

    fn roots(&mut self, objects: usize, names: usize) -> Result<Vec<Root>, String> {
        let held = self.numbers(Column::RootObjects, objects, "a root is no object")?;
        let kinds = self.numbers(Column::RootKinds, 5, "a root has an unknown kind")?;
        let values = self.numbers(Column::RootValues, usize::MAX, "a root is out of range")?;
        let length = same_length(&[held.len(), kinds.len(), values.len()])?;
        let root = |index: usize| {
            let kind = root_kind(kinds[index], values[index]);
            let is_known = kind.name().is_none_or(|name| (name.0 as usize) < names);
            let root = Root { object: ObjectId(held[index]), kind };
            if is_known { Ok(root) } else { Err("a root has an unknown name".to_owned()) }
        };
        (0..length).map(root).collect()
    }

    fn extras(&mut self, objects: usize, names: usize) -> Result<Extras, String> {
        let extras = Extras {
            frames: self.frames(objects, names)?,
            texts: self.texts(objects, names)?,
            opaque: self.opaque(objects)?,
            facts: self.facts(objects, names)?,
            weak: self.weak(objects)?,
            contents: self.contents(objects)?,
        };
        let rises = extras.frames.is_sorted_by_key(|(object, _)| *object)
            && extras.texts.is_sorted_by_key(|(object, _)| *object)
            && extras.opaque.is_sorted_by_key(|(object, _)| *object)
            && extras.facts.is_sorted_by_key(|fact| fact.object)
            && extras.contents.is_sorted();
        if rises { Ok(extras) } else { Err("a list is out of order".to_owned()) }
    }

    fn frames(&mut self, objects: usize, names: usize) -> Result<Vec<(u32, Frame)>, String> {
        let frames = self.numbers(Column::FrameObjects, objects, "a frame is no object")?;
        let functions = self.numbers(Column::FrameFunctions, names, "a frame has no function")?;
        let files = self.numbers(Column::FrameFiles, names, "a frame has no file")?;
        let lines = self.numbers(Column::FrameLines, usize::MAX, "a line is out of range")?;
        let length = same_length(&[frames.len(), functions.len(), files.len(), lines.len()])?;
        let frame = |index: usize| {
            let (function, file) = (NameId(functions[index]), NameId(files[index]));
            (frames[index], Frame { function, file, line: lines[index] })
        };
        Ok((0..length).map(frame).collect())
    }

    fn texts(&mut self, objects: usize, names: usize) -> Result<Vec<(u32, NameId)>, String> {
        let shown = self.numbers(Column::TextObjects, objects, "a text is of no object")?;
        let texts = self.numbers(Column::TextNames, names, "a text is unknown")?;
        same_length(&[shown.len(), texts.len()])?;
        Ok(shown.into_iter().zip(texts.into_iter().map(NameId)).collect())
    }

    fn opaque(&mut self, objects: usize) -> Result<Vec<(u32, u64)>, String> {
        let holders = self.numbers(Column::OpaqueObjects, objects, "opaque bytes are of no object")?;
        let bytes = self.values(Column::OpaqueBytes)?;
        same_length(&[holders.len(), bytes.len()])?;
        Ok(holders.into_iter().zip(bytes).collect())
    }

    fn facts(&mut self, objects: usize, names: usize) -> Result<Vec<Fact>, String> {
        let found = self.numbers(Column::FactObjects, objects, "a fact is of no object")?;
        let kinds = self.numbers(Column::FactKinds, 4, "a fact has an unknown kind")?;
        let firsts = self.values(Column::FactFirsts)?;
        let seconds = self.values(Column::FactSeconds)?;
        let saved = self.values(Column::FactSaved)?;
        let length = same_length(&[found.len(), kinds.len(), firsts.len(), seconds.len(), saved.len()])?;
        let fact = |index: usize| {
            let kind = fact_kind(kinds[index], firsts[index], seconds[index], names).ok_or("a fact is out of range")?;
            Ok(Fact { object: ObjectId(found[index]), kind, saved_bytes: saved[index] })
        };
        (0..length).map(fact).collect()
    }

    fn weak(&mut self, objects: usize) -> Result<Vec<(u32, u32)>, String> {
        let from = self.numbers(Column::WeakFrom, objects, "a weak reference is of no object")?;
        let to = self.numbers(Column::WeakTo, objects, "a weak reference leads nowhere")?;
        same_length(&[from.len(), to.len()])?;
        Ok(from.into_iter().zip(to).collect())
    }

    fn contents(&mut self, objects: usize) -> Result<Vec<(u64, u32)>, String> {
        let hashes = self.values(Column::ContentHashes)?;
        let holders = self.numbers(Column::ContentObjects, objects, "a content is of no object")?;
        same_length(&[hashes.len(), holders.len()])?;
        Ok(hashes.into_iter().zip(holders).collect())
    }
}

/// The opposite of `root_numbers`; the kind is below 5.
fn root_kind(kind: u32, value: u32) -> RootKind {
    match kind {
        0 => RootKind::Module(NameId(value)),
        1 => RootKind::Frame { thread: NameId(value) },
        2 => RootKind::Interpreter(NameId(value)),
        3 => RootKind::HeldByC(value),
        _ => RootKind::Unreachable,
    }
}

/// The opposite of `fact_numbers`; the kind is below 4.
fn fact_kind(kind: u32, first: u64, second: u64, names: usize) -> Option<FactKind> {
    Some(match kind {
        0 => FactKind::OverAllocated { used: first, capacity: second },
        1 => FactKind::FitsSmaller { element: NameId(narrow(first, names, "").ok()?) },
        2 => FactKind::UsesPartOf { used: first },
        _ => FactKind::WeakrefCallback,
    })
}

/// A shape other than that of sequences has a name for each reference.
fn check_shapes(columns: &Columns, shapes: &ShapeTable) -> Result<(), &'static str> {
    let fits = |object: usize| {
        let shape = columns.shapes[object];
        shape == INDEXED || shapes.get(shape).len() == columns.edge_range(object).len()
    };
    if (0..columns.len()).all(fits) { Ok(()) } else { Err("an object has a name too many or too few") }
}

/// Dominators rely on it: a depth-first search from the roots meets the objects in the order of their numbers, and all.
fn check_numbering(graph: &Graph) -> Result<(), &'static str> {
    let mut met = 0;
    let mut search = Search::new(&graph.columns, &graph.types);
    let mut is_in_order = true;
    for root in &graph.roots {
        search.run(root.object.0, |object, _| {
            is_in_order &= object <= met;
            let is_new = object == met;
            met += u32::from(is_new);
            is_new
        });
    }
    if is_in_order && met as usize == graph.len() { Ok(()) } else { Err("its objects are out of order") }
}
