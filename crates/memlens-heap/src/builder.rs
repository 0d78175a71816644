//! What a walker fills.
use crate::column::AddressColumn;
use crate::edge_name::EdgeName;
use crate::graph::{Columns, Extras};
use crate::preorder::Numbering;
use crate::shape_table::{ShapeInterner, ShapeTable};
use crate::text_pool::TextInterner;
use crate::{
    BufferKind, BuildError, Fact, FactKind, Frame, Graph, Meta, NameId, ObjectId, Root, RootKind, Type, TypeFlags,
    TypeId,
};
use rustc_hash::FxHashMap;

/// Gathers objects and references, and makes the [`Graph`] of them.
///
/// Give the references of an object together, and objects in the order of their numbers, as a walker does that numbers objects
/// when it first meets them: then a reference costs one push. Any other order works, at 12 bytes and a sort for
/// each reference that comes late. A mistake (an unknown number, too many of something) is noted and returned by
/// [`HeapBuilder::finish`].
#[derive(Debug)]
pub struct HeapBuilder {
    meta: Meta,
    names: TextInterner,
    types: Vec<Type>,
    shapes: ShapeInterner,
    columns: Columns,
    roots: Vec<Root>,
    extras: Extras,
    /// Objects before this one have all their references.
    open: u32,
    /// Names of the open object's references.
    open_names: Vec<EdgeName>,
    /// References of objects before the open one.
    late: Vec<(u32, u32, EdgeName)>,
    buffers: FxHashMap<u64, ObjectId>,
    buffer_types: [Option<TypeId>; BufferKind::ALL.len()],
    mistake: Option<BuildError>,
}

impl HeapBuilder {
    /// An empty graph.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            names: TextInterner::default(),
            types: Vec::new(),
            shapes: ShapeInterner::default(),
            columns: Columns::default(),
            roots: Vec::new(),
            extras: Extras::default(),
            open: 0,
            open_names: Vec::new(),
            late: Vec::new(),
            buffers: FxHashMap::default(),
            buffer_types: [None; BufferKind::ALL.len()],
            mistake: None,
        }
    }

    /// Number of objects so far.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no objects yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a text: a name, a `repr`, a path. The same text has one number.
    pub fn name(&mut self, text: &str) -> NameId {
        self.names.intern(text).unwrap_or_else(|| {
            self.note(BuildError::TooManyNames);
            NameId(0)
        })
    }

    /// A new type. `module` is empty where there is none.
    pub fn type_(&mut self, name: &str, module: &str, flags: TypeFlags) -> TypeId {
        let (name, module) = (self.name(name), self.name(module));
        self.types.push(Type { name, module, flags, class: None });
        TypeId((self.types.len() - 1) as u32)
    }

    /// Says that each instance of the type holds a reference to this class object. It costs nothing by instance.
    pub fn class_object(&mut self, type_: TypeId, class: ObjectId) {
        if !self.is_object(class) {
            return;
        }
        match self.types.get_mut(type_.index()) {
            Some(type_) => type_.class = Some(class),
            None => self.note(BuildError::UnknownType(type_.0)),
        }
    }

    /// A new object. `shallow_bytes` is its own block or blocks, header included, buffers left out that are nodes.
    pub fn object(&mut self, address: u64, type_: TypeId, shallow_bytes: u64) -> ObjectId {
        let Ok(id @ 0..0xffff_fffe) = u32::try_from(self.columns.len()) else {
            self.note(BuildError::TooManyObjects);
            return ObjectId(0);
        };
        if address >> 48 != 0 {
            self.note(BuildError::Address(address));
        }
        if type_.index() >= self.types.len() {
            self.note(BuildError::UnknownType(type_.0));
        }
        self.columns.addresses.push(address);
        self.columns.types.push(type_.0);
        self.columns.sizes.push(shallow_bytes);
        ObjectId(id)
    }

    /// The block of bytes at an address, made when it is first named. Point to it with [`EdgeName::BUFFER`] from each
    /// object that owns a share in it; a view points to its base instead.
    pub fn buffer(&mut self, address: u64, bytes: u64, kind: BufferKind) -> ObjectId {
        if let Some(known) = self.buffers.get(&address) {
            return *known;
        }
        let type_ = match self.buffer_types[kind as usize] {
            Some(type_) => type_,
            None => self.type_(kind.type_name(), "", kind.type_flags()),
        };
        self.buffer_types[kind as usize] = Some(type_);
        let buffer = self.object(address, type_, bytes);
        self.buffers.insert(address, buffer);
        buffer
    }

    /// A reference that keeps `to` alive.
    #[inline]
    pub fn edge(&mut self, from: ObjectId, to: ObjectId, name: EdgeName) {
        if !self.is_object(to) || !self.is_object(from) {
            return;
        }
        if from.0 < self.open {
            return self.late.push((from.0, to.0, name));
        }
        if from.0 > self.open {
            self.close_before(from.0);
        }
        self.columns.targets.push(to.0);
        self.open_names.push(name);
    }

    /// A weak reference, which keeps nothing alive.
    pub fn weak(&mut self, from: ObjectId, to: ObjectId) {
        if self.is_object(from) && self.is_object(to) {
            self.extras.weak.push((from.0, to.0));
        }
    }

    /// Where a frame stands.
    pub fn frame(&mut self, object: ObjectId, frame: Frame) {
        if self.is_object(object) {
            self.extras.frames.push((object.0, frame));
        }
    }

    /// A short text that shows the object's value.
    pub fn text(&mut self, object: ObjectId, text: &str) {
        let name = self.name(text);
        if self.is_object(object) {
            self.extras.texts.push((object.0, name));
        }
    }

    /// Bytes that the object holds and that no reference explains.
    pub fn opaque(&mut self, object: ObjectId, bytes: u64) {
        if self.is_object(object) && bytes > 0 {
            self.extras.opaque.push((object.0, bytes));
        }
    }

    /// A hash of the object's content: objects of one type with equal hashes are taken to be equal.
    pub fn content(&mut self, object: ObjectId, hash: u64) {
        if self.is_object(object) {
            self.extras.contents.push((hash, object.0));
        }
    }

    /// Something that was found out about the object.
    pub fn fact(&mut self, object: ObjectId, kind: FactKind, saved_bytes: u64) {
        if self.is_object(object) {
            self.extras.facts.push(Fact { object, kind, saved_bytes });
        }
    }

    /// Something outside of the graph keeps the object alive.
    pub fn root(&mut self, object: ObjectId, kind: RootKind) {
        if self.is_object(object) {
            self.roots.push(Root { object, kind });
        }
    }

    /// The graph, with its objects numbered anew; find them by [`Graph::object_at`].
    pub fn finish(mut self) -> Result<Graph, BuildError> {
        self.close_before(self.columns.len() as u32);
        if !self.late.is_empty() {
            self.merge_late();
        }
        self.check_names();
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        Ok(self.renumber())
    }

    fn note(&mut self, mistake: BuildError) {
        self.mistake.get_or_insert(mistake);
    }

    #[inline]
    fn is_object(&mut self, object: ObjectId) -> bool {
        let is_known = object.index() < self.columns.len();
        if !is_known {
            self.note(BuildError::UnknownObject(object.0));
        }
        is_known
    }

    /// Completes the references of all objects before `object`.
    fn close_before(&mut self, object: u32) {
        while self.open < object {
            let shape = self.shapes.intern(&self.open_names);
            self.open_names.clear();
            self.close(shape);
        }
    }

    /// Ends the references of the open object, whose shape is given.
    fn close(&mut self, shape: Option<u32>) {
        let end = u32::try_from(self.columns.targets.len()).ok();
        if shape.is_none() || end.is_none() {
            self.note(BuildError::TooManyEdges);
        }
        self.columns.shapes.push(shape.unwrap_or(0));
        self.columns.edge_ends.push(end.unwrap_or(0));
        self.open += 1;
    }

    /// Puts each late reference behind the others of its object.
    fn merge_late(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|(from, ..)| *from);
        let old = std::mem::take(&mut self.columns);
        self.columns = Columns { addresses: old.addresses, types: old.types, sizes: old.sizes, ..Columns::default() };
        self.columns.targets.reserve_exact(old.targets.len() + late.len());
        self.open = 0;
        let mut late = late.as_slice();
        for (object, shape) in old.shapes.iter().enumerate() {
            let before = old.edge_ends[..object].last().map_or(0, |end| *end as usize);
            let targets = &old.targets[before..old.edge_ends[object] as usize];
            self.columns.targets.extend_from_slice(targets);
            let own = late.partition_point(|(from, ..)| *from as usize <= object);
            let (own, rest) = late.split_at(own);
            late = rest;
            let shape = if own.is_empty() { Some(*shape) } else { self.extended_shape(*shape, targets.len(), own) };
            self.columns.targets.extend(own.iter().map(|(_, to, _)| *to));
            self.close(shape);
        }
    }

    fn extended_shape(&mut self, shape: u32, length: usize, late: &[(u32, u32, EdgeName)]) -> Option<u32> {
        let table: &ShapeTable = self.shapes.table();
        let mut names: Vec<EdgeName> = (0..length).map(|position| table.name(shape, position)).collect();
        names.extend(late.iter().map(|(.., name)| *name));
        self.shapes.intern(&names)
    }

    /// Names that come from another builder have numbers that this one may not have.
    fn check_names(&mut self) {
        let known = self.names.len() as u32;
        let in_edges = self.shapes.table().all_names().filter_map(EdgeName::name).map(|name| name.0).max();
        let in_frames = self.extras.frames.iter().map(|(_, frame)| frame.function.0.max(frame.file.0)).max();
        let in_roots = self.roots.iter().filter_map(|root| root.kind.name()).map(|name| name.0).max();
        let in_facts = self.extras.facts.iter().filter_map(|fact| fact.kind.name()).map(|name| name.0).max();
        let largest = in_edges.max(in_frames).max(in_roots).max(in_facts);
        if let Some(unknown) = largest.filter(|name| *name >= known) {
            self.note(BuildError::UnknownName(unknown));
        }
    }

    fn renumber(mut self) -> Graph {
        let numbering = Numbering::new(&self.columns, &self.types, &mut self.roots);
        let number = |object: &mut ObjectId| object.0 = numbering.number[object.index()];
        self.types.iter_mut().filter_map(|type_| type_.class.as_mut()).for_each(number);
        self.roots.iter_mut().for_each(|root| number(&mut root.object));
        Graph {
            meta: self.meta,
            names: self.names.finish(),
            types: self.types,
            shapes: self.shapes.finish(),
            columns: self.columns.renumbered(&numbering),
            roots: self.roots,
            extras: self.extras.renumbered(&numbering.number),
            ..Graph::default()
        }
    }
}

impl Columns {
    /// The same in another order: references on a second thread, since every step of it waits for memory.
    fn renumbered(mut self, numbering: &Numbering) -> Self {
        let order = &numbering.order;
        let (columns, (targets, edge_ends)) = std::thread::scope(|scope| {
            let edges = scope.spawn(|| self.renumbered_edges(numbering));
            let sorted = [&self.types, &self.shapes, &self.sizes.small, &self.addresses.low];
            let sorted = sorted.map(|column| permuted(column, order));
            let high = permuted(&self.addresses.high, order);
            ((sorted, high), edges.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let ([types, shapes, small, low], high) = columns;
        self.sizes.small = small;
        self.addresses = AddressColumn { low, high };
        self = Self { types, shapes, edge_ends, targets, ..self };
        for (object, _) in &mut self.sizes.large {
            *object = numbering.number[*object as usize];
        }
        self.sizes.large.sort_unstable();
        self
    }

    fn renumbered_edges(&self, numbering: &Numbering) -> (Vec<u32>, Vec<u32>) {
        let mut targets = Vec::with_capacity(self.targets.len());
        let mut edge_ends = Vec::with_capacity(self.edge_ends.len());
        for object in &numbering.order {
            let own = self.targets_of(*object as usize).iter();
            targets.extend(own.map(|to| numbering.number[*to as usize]));
            edge_ends.push(targets.len() as u32);
        }
        (targets, edge_ends)
    }
}

fn permuted<T: Copy>(column: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|old| column[*old as usize]).collect()
}

impl Extras {
    fn renumbered(mut self, number: &[u32]) -> Self {
        let new = |object: &mut u32| *object = number[*object as usize];
        self.frames.iter_mut().for_each(|(object, _)| new(object));
        self.texts.iter_mut().for_each(|(object, _)| new(object));
        self.opaque.iter_mut().for_each(|(object, _)| new(object));
        self.facts.iter_mut().for_each(|fact| new(&mut fact.object.0));
        self.weak.iter_mut().for_each(|(from, to)| {
            new(from);
            new(to);
        });
        self.contents.iter_mut().for_each(|(_, object)| new(object));
        self.sort();
        self
    }

    /// By object. Of what was said twice the first counts, but opaque bytes add up.
    fn sort(&mut self) {
        self.frames.sort_by_key(|(object, _)| *object);
        self.frames.dedup_by_key(|(object, _)| *object);
        self.texts.sort_by_key(|(object, _)| *object);
        self.texts.dedup_by_key(|(object, _)| *object);
        self.opaque.sort_unstable();
        self.opaque.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = kept.1.saturating_add(later.1);
            }
            is_same
        });
        self.facts.sort_by_key(|fact| fact.object);
        self.weak.sort_unstable();
        self.weak.dedup();
        self.contents.sort_unstable();
        self.contents.dedup();
        keep_shared(&mut self.contents);
    }
}

/// Drops the hashes that only one object has.
fn keep_shared(contents: &mut Vec<(u64, u32)>) {
    let mut kept = Vec::new();
    for group in contents.chunk_by(|left, right| left.0 == right.0).filter(|group| group.len() > 1) {
        kept.extend_from_slice(group);
    }
    *contents = kept;
}
