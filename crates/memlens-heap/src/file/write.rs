//! A graph to a file.
use super::chunk::ChunkWriter;
use super::column::Column;
use super::{HEAP_VERSION, MAGIC};
use crate::graph::{Columns, Extras};
use crate::{EdgeName, Error, FactKind, Graph, Meta, RootKind};
use std::io::{self, Write};

impl Graph {
    /// Writes the graph to `out`, which should be an empty, unbuffered file that the caller has just created. Needs a few
    /// megabytes of memory, however large the graph.
    pub fn save(&self, out: &mut dyn Write) -> Result<(), Error> {
        self.write(&mut io::BufWriter::with_capacity(1 << 18, out)).map_err(|source| Error::CannotWrite { source })
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&HEAP_VERSION.to_le_bytes())?;
        let mut chunks = ChunkWriter::new(out)?;
        write_meta(&self.meta, &mut chunks)?;
        chunks.column(Column::NameLengths, self.names.lengths().map(u64::from))?;
        chunks.column(Column::NameText, self.names.bytes().iter().map(|byte| u64::from(*byte)))?;
        self.write_types(&mut chunks)?;
        chunks.column(Column::ShapeLengths, self.shapes.lengths().map(u64::from))?;
        chunks.column(Column::ShapeNames, self.shapes.all_names().map(EdgeName::bits).map(u64::from))?;
        write_columns(&self.columns, &mut chunks)?;
        self.write_roots(&mut chunks)?;
        write_extras(&self.extras, &mut chunks)?;
        chunks.chunk(Column::End, &[])?;
        drop(chunks);
        out.flush()
    }

    fn write_types(&self, chunks: &mut ChunkWriter<'_>) -> io::Result<()> {
        let types = self.types.iter();
        chunks.column(Column::TypeNames, types.clone().map(|type_| u64::from(type_.name.0)))?;
        chunks.column(Column::TypeModules, types.clone().map(|type_| u64::from(type_.module.0)))?;
        chunks.column(Column::TypeFlags, types.clone().map(|type_| u64::from(type_.flags.0)))?;
        // One more than the object; 0 is none.
        chunks.column(Column::TypeClasses, types.map(|type_| type_.class.map_or(0, |class| u64::from(class.0) + 1)))
    }

    fn write_roots(&self, chunks: &mut ChunkWriter<'_>) -> io::Result<()> {
        let roots = self.roots.iter();
        chunks.column(Column::RootObjects, roots.clone().map(|root| u64::from(root.object.0)))?;
        chunks.column(Column::RootKinds, roots.clone().map(|root| root_numbers(root.kind).0))?;
        chunks.column(Column::RootValues, roots.map(|root| root_numbers(root.kind).1))
    }
}

/// A root's kind as two numbers.
fn root_numbers(kind: RootKind) -> (u64, u64) {
    match kind {
        RootKind::Module(name) => (0, u64::from(name.0)),
        RootKind::Frame { thread } => (1, u64::from(thread.0)),
        RootKind::Interpreter(name) => (2, u64::from(name.0)),
        RootKind::HeldByC(count) => (3, u64::from(count)),
        RootKind::Unreachable => (4, 0),
    }
}

/// A fact's kind as three numbers.
fn fact_numbers(kind: FactKind) -> [u64; 3] {
    match kind {
        FactKind::OverAllocated { used, capacity } => [0, used, capacity],
        FactKind::FitsSmaller { element } => [1, u64::from(element.0), 0],
        FactKind::UsesPartOf { used } => [2, used, 0],
        FactKind::WeakrefCallback => [3, 0, 0],
    }
}

/// Process id, time, the two optional counts with a 1 before each that is there, and the lengths of version and arguments.
fn write_meta(meta: &Meta, chunks: &mut ChunkWriter<'_>) -> io::Result<()> {
    let optional = |count: Option<u64>| [u64::from(count.is_some()), count.unwrap_or(0)];
    let numbers = [u64::from(meta.pid), meta.time_unix_ns].into_iter();
    let numbers = numbers.chain(optional(meta.heap_bytes)).chain(optional(meta.rss_bytes));
    let texts = || std::iter::once(&meta.python).chain(&meta.command);
    chunks.column(Column::MetaNumbers, numbers.chain(texts().map(|text| text.len() as u64)))?;
    chunks.column(Column::MetaText, texts().flat_map(|text| text.bytes()).map(u64::from))
}

fn write_columns(columns: &Columns, chunks: &mut ChunkWriter<'_>) -> io::Result<()> {
    let length = columns.len();
    chunks.column(Column::Degrees, (0..length).map(|object| columns.edge_range(object).len() as u64))?;
    chunks.column(Column::Types, columns.types.iter().map(|type_| u64::from(*type_)))?;
    chunks.column(Column::Shapes, columns.shapes.iter().map(|shape| u64::from(*shape)))?;
    chunks.column(Column::Sizes, (0..length).map(|object| columns.sizes.get(object)))?;
    let addresses = (0..length).map(|object| columns.addresses.get(object));
    chunks.column(Column::Addresses, differences(addresses, 0))?;
    let targets = |object: usize| columns.targets_of(object).iter().map(|to| u64::from(*to));
    chunks.column(Column::Targets, (0..length).flat_map(|object| differences(targets(object), object as u64)))
}

/// Each value as what it is more than the one before, folded so that small differences in either direction stay small.
fn differences(values: impl Iterator<Item = u64>, first: u64) -> impl Iterator<Item = u64> {
    values.scan(first, |before, value| {
        let difference = value.wrapping_sub(*before) as i64;
        *before = value;
        Some(((difference << 1) ^ (difference >> 63)) as u64)
    })
}

fn write_extras(extras: &Extras, chunks: &mut ChunkWriter<'_>) -> io::Result<()> {
    let frames = extras.frames.iter();
    chunks.column(Column::FrameObjects, frames.clone().map(|(object, _)| u64::from(*object)))?;
    chunks.column(Column::FrameFunctions, frames.clone().map(|(_, frame)| u64::from(frame.function.0)))?;
    chunks.column(Column::FrameFiles, frames.clone().map(|(_, frame)| u64::from(frame.file.0)))?;
    chunks.column(Column::FrameLines, frames.map(|(_, frame)| u64::from(frame.line)))?;
    chunks.column(Column::TextObjects, extras.texts.iter().map(|(object, _)| u64::from(*object)))?;
    chunks.column(Column::TextNames, extras.texts.iter().map(|(_, name)| u64::from(name.0)))?;
    chunks.column(Column::OpaqueObjects, extras.opaque.iter().map(|(object, _)| u64::from(*object)))?;
    chunks.column(Column::OpaqueBytes, extras.opaque.iter().map(|(_, bytes)| *bytes))?;
    let facts = extras.facts.iter();
    chunks.column(Column::FactObjects, facts.clone().map(|fact| u64::from(fact.object.0)))?;
    chunks.column(Column::FactKinds, facts.clone().map(|fact| fact_numbers(fact.kind)[0]))?;
    chunks.column(Column::FactFirsts, facts.clone().map(|fact| fact_numbers(fact.kind)[1]))?;
    chunks.column(Column::FactSeconds, facts.clone().map(|fact| fact_numbers(fact.kind)[2]))?;
    chunks.column(Column::FactSaved, facts.map(|fact| fact.saved_bytes))?;
    chunks.column(Column::WeakFrom, extras.weak.iter().map(|(from, _)| u64::from(*from)))?;
    chunks.column(Column::WeakTo, extras.weak.iter().map(|(_, to)| u64::from(*to)))?;
    chunks.column(Column::ContentHashes, extras.contents.iter().map(|(hash, _)| *hash))?;
    chunks.column(Column::ContentObjects, extras.contents.iter().map(|(_, object)| u64::from(*object)))
}
