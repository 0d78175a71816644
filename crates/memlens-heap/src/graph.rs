//! The finished graph: columns by object, references as one list.
use crate::column::{AddressColumn, SizeColumn, find};
use crate::dominators::Dominators;
use crate::shape_table::ShapeTable;
use crate::text_pool::TextPool;
use crate::{DominatorTree, EdgeName, Fact, Frame, Meta, NameId, ObjectId, Referrers, Root, Type, TypeFlags, TypeId};
use std::sync::OnceLock;

/// A reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The object that is referred to.
    pub to: ObjectId,
    /// What it is to the one that refers.
    pub name: EdgeName,
}

/// One column for each property of all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) addresses: AddressColumn,
    pub(crate) types: Vec<u32>,
    pub(crate) sizes: SizeColumn,
    pub(crate) shapes: Vec<u32>,
    /// Where each object's references end in `targets`.
    pub(crate) edge_ends: Vec<u32>,
    pub(crate) targets: Vec<u32>,
}

impl Columns {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.types.len()
    }

    #[inline]
    pub(crate) fn edge_range(&self, object: usize) -> std::ops::Range<usize> {
        let start = if object == 0 { 0 } else { self.edge_ends[object - 1] };
        start as usize..self.edge_ends[object] as usize
    }

    #[inline]
    pub(crate) fn targets_of(&self, object: usize) -> &[u32] {
        &self.targets[self.edge_range(object)]
    }
}

/// What only few objects have: lists sorted by object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) frames: Vec<(u32, Frame)>,
    pub(crate) texts: Vec<(u32, NameId)>,
    pub(crate) opaque: Vec<(u32, u64)>,
    pub(crate) facts: Vec<Fact>,
    /// Weak references: from, to.
    pub(crate) weak: Vec<(u32, u32)>,
    /// Hash and object of those whose content some other object has too; sorted by hash.
    pub(crate) contents: Vec<(u64, u32)>,
}

/// A heap at one moment.
///
/// Objects are numbered by a depth-first search from the roots, which follows [`Graph::edges`] in their order: an object's
/// immediate dominator has a smaller number than itself, and most neighbours lie close together.
#[derive(Debug, Default)]
pub struct Graph {
    pub(crate) meta: Meta,
    pub(crate) names: TextPool,
    pub(crate) types: Vec<Type>,
    pub(crate) shapes: ShapeTable,
    pub(crate) columns: Columns,
    pub(crate) roots: Vec<Root>,
    pub(crate) extras: Extras,
    pub(crate) by_address: OnceLock<Vec<u32>>,
    pub(crate) dominators: OnceLock<Dominators>,
    pub(crate) referrers: OnceLock<Referrers>,
}

impl Graph {
    /// Where it comes from.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Number of objects, frames and buffers.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = ObjectId> + DoubleEndedIterator {
        (0..self.len() as u32).map(ObjectId)
    }

    /// Number of references, those to classes left out.
    pub fn edge_count(&self) -> usize {
        self.columns.targets.len()
    }

    /// The address that the object had. Frames and buffers have one too.
    pub fn address(&self, object: ObjectId) -> u64 {
        self.columns.addresses.get(object.index())
    }

    /// The object at an address, before a buffer at the same one. The first call sorts all addresses (4 bytes an object).
    pub fn object_at(&self, address: u64) -> Option<ObjectId> {
        let sorted = self.by_address();
        let at = sorted.partition_point(|object| self.address(ObjectId(*object)) < address);
        let found = ObjectId(*sorted.get(at)?);
        (self.address(found) == address).then_some(found)
    }

    /// All objects, sorted by address.
    pub(crate) fn by_address(&self) -> &[u32] {
        self.by_address.get_or_init(|| {
            let column = &self.columns.addresses;
            let mut objects: Vec<u32> = (0..self.len() as u32).collect();
            // A buffer may lie where an object begins; the object stands first.
            let is_buffer = |object: u32| self.is_a(ObjectId(object), TypeFlags::BUFFER);
            objects.sort_unstable_by_key(|object| (column.get(*object as usize), is_buffer(*object)));
            objects
        })
    }

    /// Bytes of the object itself.
    pub fn shallow_bytes(&self, object: ObjectId) -> u64 {
        self.columns.sizes.get(object.index())
    }

    /// Bytes that the object holds in a way that no reference explains.
    pub fn opaque_bytes(&self, object: ObjectId) -> u64 {
        find(&self.extras.opaque, object.0).unwrap_or(0)
    }

    /// Opaque bytes of all objects that have some, by object.
    pub fn all_opaque(&self) -> impl Iterator<Item = (ObjectId, u64)> {
        self.extras.opaque.iter().map(|(object, bytes)| (ObjectId(*object), *bytes))
    }

    /// Shallow and opaque bytes: what goes from the heap when the object alone goes. A mapped file is no heap.
    #[inline]
    pub fn own_bytes(&self, object: ObjectId) -> u64 {
        if self.is_a(object, TypeFlags::FILE) {
            return 0;
        }
        self.shallow_bytes(object).saturating_add(self.opaque_bytes(object))
    }

    /// Bytes of all mapped files.
    pub fn file_bytes(&self) -> u64 {
        if !self.types.iter().any(|type_| type_.flags.has(TypeFlags::FILE)) {
            return 0;
        }
        let files = self.objects().filter(|object| self.is_a(*object, TypeFlags::FILE));
        files.fold(0, |sum, file| sum.saturating_add(self.shallow_bytes(file)))
    }

    /// The object's type.
    pub fn type_id(&self, object: ObjectId) -> TypeId {
        TypeId(self.columns.types[object.index()])
    }

    /// The object's type.
    pub fn type_of(&self, object: ObjectId) -> &Type {
        &self.types[self.type_id(object).index()]
    }

    /// Whether the object's type has the flags.
    pub fn is_a(&self, object: ObjectId, flags: TypeFlags) -> bool {
        self.type_of(object).flags.has(flags)
    }

    /// All types, by their number.
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// `pandas.core.frame.DataFrame`; `dict` for what is built in.
    pub fn type_name(&self, id: TypeId) -> String {
        let type_ = &self.types[id.index()];
        match self.name(type_.module) {
            "" | "builtins" => self.name(type_.name).to_owned(),
            module => format!("{module}.{}", self.name(type_.name)),
        }
    }

    /// An interned text.
    pub fn name(&self, name: NameId) -> &str {
        self.names.get(name)
    }

    /// All interned texts, by number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.names.len() as u32).map(|name| self.names.get(NameId(name)))
    }

    /// A short text that shows the object's value, if the walker gave one.
    pub fn text(&self, object: ObjectId) -> Option<&str> {
        find(&self.extras.texts, object.0).map(|name| self.name(name))
    }

    /// Where a frame stands; `None` for what is no frame.
    pub fn frame(&self, object: ObjectId) -> Option<Frame> {
        find(&self.extras.frames, object.0)
    }

    /// What keeps objects alive from outside, with those that nothing keeps alive at the end.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Facts about single objects, by object.
    pub fn facts(&self) -> &[Fact] {
        &self.extras.facts
    }

    /// Weak references: from, to. They keep nothing alive and are in no other answer.
    pub fn weak_references(&self) -> impl Iterator<Item = (ObjectId, ObjectId)> {
        self.extras.weak.iter().map(|(from, to)| (ObjectId(*from), ObjectId(*to)))
    }

    /// The references that the object holds, in the walker's order; the one to its class last.
    pub fn edges(&self, object: ObjectId) -> impl Iterator<Item = Edge> {
        let shape = self.columns.shapes[object.index()];
        let targets = self.columns.targets_of(object.index()).iter().enumerate();
        let named = targets.map(move |(at, to)| Edge { to: ObjectId(*to), name: self.shapes.name(shape, at) });
        named.chain(self.class_of(object).map(|to| Edge { to, name: EdgeName::CLASS }))
    }

    /// The reference at a position of [`Graph::edges`].
    pub fn edge_at(&self, object: ObjectId, position: usize) -> Option<Edge> {
        let targets = self.columns.targets_of(object.index());
        match targets.get(position) {
            Some(to) => {
                let name = self.shapes.name(self.columns.shapes[object.index()], position);
                Some(Edge { to: ObjectId(*to), name })
            }
            None => self.class_of(object).map(|to| Edge { to, name: EdgeName::CLASS }),
        }
    }

    /// The class that the object keeps alive.
    #[inline]
    pub fn class_of(&self, object: ObjectId) -> Option<ObjectId> {
        self.types[self.columns.types[object.index()] as usize].class
    }

    /// Immediate dominators and retained sizes. The first call computes them.
    pub fn dominators(&self) -> &Dominators {
        self.dominators.get_or_init(|| Dominators::new(self))
    }

    /// Whom each object dominates. Computed anew by each call.
    pub fn dominator_tree(&self) -> DominatorTree {
        DominatorTree::new(self)
    }

    /// Who refers to each object. The first call computes it (4 bytes an object and a reference).
    pub fn referrers(&self) -> &Referrers {
        self.referrers.get_or_init(|| Referrers::new(self))
    }

    /// What the object refers to, without the names.
    #[inline]
    pub fn successors(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> {
        let targets = self.columns.targets_of(object.index());
        targets.iter().map(|to| ObjectId(*to)).chain(self.class_of(object))
    }
}
