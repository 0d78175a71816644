//! Objects as the graph of `memlens-heap`: each object once, with its references by name.
//!
//! An object gets its number when it is first met, and its references are visited in the order of the numbers: that is how the
//! builder takes them for the price of a push. As in `walk`, no Python code runs; libraries are asked at the end.
use crate::class_name;
use crate::coder::CoderStates;
use crate::ctypes;
use crate::doubt::Doubt;
use crate::edge::{self, Name, Visitor};
use crate::fact;
use crate::frame::Reference;
use crate::interpreter::Interpreter;
use crate::layout::type_object as slot;
use crate::native;
use crate::numbering::Numbering;
use crate::numpy::{self, Extent};
use crate::object::{Object, c_text};
use crate::pandas::{self, Column};
use crate::region::{Region, RegionBytes, RegionKind, Regions};
use crate::rule::Rules;
use crate::size;
use crate::text;
use crate::thread::InterpreterFrame;
use crate::type_facts::{Kind, Native, TypeFacts, TypeTable};
use crate::walk::mapped_region;
use memlens_heap::{
    BufferKind, EdgeName, FactKind, Frame, HeapBuilder, Meta, NameId, ObjectId, RootKind, TypeFlags, TypeId,
};
use pyo3::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Marks an address as one of something that is left out.
const LEFT_OUT: u32 = u32::MAX;
/// `offsetof(PyWeakReference, wr_callback)`.
const WEAK_CALLBACK: isize = 24;
/// Distinct keys whose text is kept; later ones are shown as `…`.
const MOST_KEYS: usize = 4_000_000;

/// A graph in the making.
pub struct GraphWalk<'a> {
    types: TypeTable<'a>,
    /// Nothing: the whole heap.
    rules: Option<Rules>,
    numbering: Numbering,
    objects: Vec<Object>,
    /// References to each object that the graph explains.
    explained: Vec<u32>,
    builder: HeapBuilder,
    type_ids: FxHashMap<Object, TypeId>,
    /// Names by the address of the string, key or constant that they come from.
    names: FxHashMap<usize, NameId>,
    key_count: usize,
    /// Frames, which have the first numbers and are no objects.
    frame_count: usize,
    /// The object whose references are being visited.
    current: ObjectId,
    visited: usize,
    arrays: Vec<ShownArray>,
    natives: Vec<(ObjectId, Object, Native)>,
    /// Frames of pandas.
    tables: Vec<(ObjectId, Object)>,
    mappings: Vec<(ObjectId, Region)>,
    coders: CoderStates,
    doubt: Doubt,
}

/// An array that owns or shows memory.
struct ShownArray {
    id: ObjectId,
    object: Object,
    extent: Extent,
    /// It accounts for its memory itself: no other object does.
    is_holder: bool,
    /// The array whose memory it shows.
    base: Option<Object>,
    /// References to it that come from arrays which show its memory.
    base_references: u64,
}

impl<'a> GraphWalk<'a> {
    pub fn new(interpreter: &'a Interpreter, rules: Option<Rules>, meta: Meta) -> Self {
        Self {
            types: TypeTable::new(interpreter),
            rules,
            numbering: Numbering::default(),
            objects: Vec::new(),
            explained: Vec::new(),
            builder: HeapBuilder::new(meta),
            type_ids: FxHashMap::default(),
            names: FxHashMap::default(),
            key_count: 0,
            frame_count: 0,
            current: ObjectId(0),
            visited: 0,
            arrays: Vec::new(),
            natives: Vec::new(),
            tables: Vec::new(),
            mappings: Vec::new(),
            coders: CoderStates::default(),
            doubt: Doubt::default(),
        }
    }

    pub fn types(&mut self) -> &mut TypeTable<'a> {
        &mut self.types
    }

    pub fn builder(&mut self) -> &mut HeapBuilder {
        &mut self.builder
    }

    /// The frames of a thread: roots, whose variables are references.
    pub fn add_frame(&mut self, frame: &InterpreterFrame, thread: &str) {
        let type_ = self.frame_type();
        // Before 3.11 a frame is an object, which others may refer to.
        let object = Object::at(frame.address).filter(|_| self.types.interpreter.layout.minor < 11);
        let bytes = object.map_or(0, |object| {
            let facts = Rc::clone(self.types.of(object.type_of()));
            size::own_bytes(object, &facts, self.types.interpreter)
        });
        let id = self.builder.object(frame.address as u64, type_, bytes as u64);
        if let Some(object) = object {
            *self.numbering.slot(object) = id.0 + 1;
        }
        self.frame_count += 1;
        self.objects.push(frame.code);
        self.explained.push(0);
        let (function, file) = (self.builder.name(&frame.function), self.builder.name(&frame.file));
        self.builder.frame(id, Frame { function, file, line: frame.line });
        let thread = self.builder.name(thread);
        self.builder.root(id, RootKind::Frame { thread });
    }

    fn frame_type(&mut self) -> TypeId {
        let builder = &mut self.builder;
        // No type object stands at this address.
        let key = Object::NOTHING;
        *self.type_ids.entry(key).or_insert_with(|| builder.type_("frame", "", TypeFlags::FRAME))
    }

    /// Visits the variables of the frames, which were added before any object.
    pub fn visit_frames(&mut self, frames: &[InterpreterFrame], namespaces: &FxHashSet<Object>) {
        for frame in frames {
            self.current = ObjectId(self.visited as u32);
            self.visited += 1;
            for (name, value) in &frame.locals {
                self.reference(Name::Local(*name), *value);
            }
            for other in &frame.others {
                self.visit_other(*other, namespaces);
            }
            self.edge(Name::Known("f_code"), frame.code);
            if let Some(function) = frame.function_object {
                self.reference(Name::Known("f_func"), function);
            }
        }
    }

    /// What memlens's own frames refer to is held by nothing of the program's.
    pub fn explain_frames(&mut self, frames: &[InterpreterFrame]) {
        for frame in frames {
            let values = frame.locals.iter().map(|(_, value)| *value);
            let others = frame.others.iter().copied().chain(frame.function_object);
            let counted = values.chain(others).filter(|reference| reference.is_counted);
            for target in counted.map(|reference| reference.target).chain([frame.code]).collect::<Vec<_>>() {
                self.explain_target(target);
            }
        }
    }

    fn explain_target(&mut self, target: Object) {
        if let Some(id) = self.number(target) {
            self.explain(id);
        }
    }

    /// A module's namespace is the module's: the frame's reference to it is explained, and leads nowhere.
    fn visit_other(&mut self, other: Reference, namespaces: &FxHashSet<Object>) {
        if !namespaces.contains(&other.target) {
            return self.reference(Name::Unnamed, other);
        }
        self.explain_target(other.target);
    }

    /// A reference of a frame, which its target may not count.
    fn reference(&mut self, name: Name, reference: Reference) {
        if let Some(id) = self.number(reference.target) {
            let name = self.edge_name(name);
            if reference.is_counted {
                self.explain(id);
            }
            self.builder.edge(self.current, id, name);
        }
    }

    /// Adds an object, even one that a rule leaves out.
    pub fn add(&mut self, object: Object) -> ObjectId {
        match *self.numbering.slot(object) {
            0 | LEFT_OUT => {
                let facts = Rc::clone(self.types.of(object.type_of()));
                self.allot(object, &facts)
            }
            known => ObjectId(known - 1),
        }
    }

    /// The dict of a module that the caller named is not left out.
    pub fn add_namespace(&mut self, object: Object) {
        if self.types.of(object.type_of()).kind == Kind::Module {
            // SAFETY: it is a module.
            if let Some(namespace) = unsafe { object.field(crate::rule::MODULE_DICT) } {
                self.add(namespace);
            }
        }
    }

    /// Visits everything that has been met, until nothing new comes.
    pub fn run(&mut self) {
        while let Some(object) = self.objects.get(self.visited).copied() {
            self.current = ObjectId(self.visited as u32);
            self.visited += 1;
            let facts = Rc::clone(self.types.of(object.type_of()));
            if !facts.is_leaf {
                edge::visit(object, &facts, self.types.interpreter.layout, self);
            } else if crate::type_facts::is_heap_type(facts.class) {
                self.outside(Name::Known("__class__"), facts.class);
            }
            self.note(object, &facts);
            if self.rules.is_none() {
                fact::note(&mut self.builder, self.current, object, &facts, self.types.interpreter);
            }
        }
    }

    /// What is kept for the end: memory that several objects can show.
    fn note(&mut self, object: Object, facts: &TypeFacts) {
        match facts.kind {
            Kind::NumpyArray => self.note_array(object),
            Kind::Mmap => self.mappings.extend(mapped_region(object).map(|region| (self.current, region))),
            Kind::CData => self.mappings.extend(ctypes::buffer(object, facts).map(|region| (self.current, region))),
            Kind::Coder(coder) => self.builder.opaque(self.current, self.coders.held_bytes(object, coder)),
            Kind::Native(native) => self.natives.push((self.current, object, native)),
            _ if facts.is_frame => self.tables.push((self.current, object)),
            _ => {}
        }
    }

    /// Says so if the weak reference that is being visited has a callback.
    fn note_callback(&mut self, target: ObjectId) {
        let reference = self.objects[self.current.index()];
        // SAFETY: the field of a weak reference.
        if unsafe { reference.field(WEAK_CALLBACK) }.is_some() {
            self.builder.fact(target, FactKind::WeakrefCallback, 0);
        }
    }

    fn note_array(&mut self, object: Object) {
        let Some(array) = numpy::array(object) else {
            return;
        };
        self.builder.opaque(self.current, numpy::string_bytes(&array) as u64);
        let shows_other = array.base.is_some_and(|base| self.types.of(base.type_of()).shows_its_memory());
        self.arrays.push(ShownArray {
            id: self.current,
            object,
            extent: array.extent,
            is_holder: array.is_owner || !shows_other,
            base: array.base,
            base_references: 0,
        });
    }

    /// The number of an object that is part of the graph.
    #[inline]
    fn number(&mut self, object: Object) -> Option<ObjectId> {
        match *self.numbering.slot(object) {
            0 => self.meet(object),
            LEFT_OUT => None,
            known => Some(ObjectId(known - 1)),
        }
    }

    fn meet(&mut self, object: Object) -> Option<ObjectId> {
        let facts = Rc::clone(self.types.of(object.type_of()));
        let interpreter = self.types.interpreter;
        let is_left_out = match &self.rules {
            Some(rules) => rules.leaves_out(object, &facts, interpreter),
            None => is_constant(object, &facts, interpreter),
        };
        if is_left_out {
            *self.numbering.slot(object) = LEFT_OUT;
            return None;
        }
        Some(self.allot(object, &facts))
    }

    fn allot(&mut self, object: Object, facts: &TypeFacts) -> ObjectId {
        let type_ = self.type_id(facts);
        let bytes = size::own_bytes(object, facts, self.types.interpreter);
        let id = self.builder.object(object.address() as u64, type_, bytes as u64);
        *self.numbering.slot(object) = id.0 + 1;
        self.objects.push(object);
        self.explained.push(0);
        id
    }

    fn type_id(&mut self, facts: &TypeFacts) -> TypeId {
        if let Some(known) = self.type_ids.get(&facts.class) {
            return *known;
        }
        let (name, module) = class_name::of(facts, &mut self.types);
        let type_ = self.builder.type_(&name, &module, flags_of(facts, self.types.interpreter));
        self.type_ids.insert(facts.class, type_);
        type_
    }

    fn explain(&mut self, object: ObjectId) {
        let count = &mut self.explained[object.index()];
        *count = count.saturating_add(1);
    }

    fn edge_name(&mut self, name: Name) -> EdgeName {
        match name {
            Name::Attribute(name) => EdgeName::attribute(self.string_name(name)),
            Name::Local(name) => EdgeName::local(self.string_name(name)),
            Name::Slot(name) => EdgeName::attribute(self.c_name(name as usize, || {
                // SAFETY: a member's name is a C string.
                unsafe { c_text(name) }
            })),
            Name::Key(key) => EdgeName::key(self.key_name(key)),
            Name::KeyObject(key) => EdgeName::key_object(self.key_name(key)),
            Name::Member => EdgeName::MEMBER,
            Name::Index(index) => EdgeName::index(index),
            Name::Dict => EdgeName::attribute(self.known_name("__dict__")),
            Name::Known(name) => EdgeName::attribute(self.known_name(name)),
            Name::Base => EdgeName::attribute(self.known_name("base")),
            Name::Unnamed | Name::Weak => EdgeName::HIDDEN,
        }
    }

    fn known_name(&mut self, name: &'static str) -> NameId {
        self.c_name(name.as_ptr() as usize, || name.to_owned())
    }

    fn c_name(&mut self, address: usize, text: impl FnOnce() -> String) -> NameId {
        let builder = &mut self.builder;
        *self.names.entry(address).or_insert_with(|| builder.name(&text()))
    }

    /// The name that a string object is.
    fn string_name(&mut self, name: Object) -> NameId {
        let layout = self.types.interpreter.layout;
        // The address of a string that is a key has its `repr` under it: an odd address is nobody's.
        // SAFETY: attribute and variable names are strings.
        self.c_name(name.address() | 1, || unsafe { text::of_str(name, layout, 200) })
    }

    fn key_name(&mut self, key: Object) -> NameId {
        if let Some(known) = self.names.get(&key.address()) {
            return *known;
        }
        self.key_count += 1;
        if self.key_count > MOST_KEYS {
            return self.known_name("…");
        }
        let text = text::repr(key, &mut self.types);
        let name = self.builder.name(&text);
        self.names.insert(key.address(), name);
        name
    }

    /// Objects to which there are more references than the graph explains, and how many more.
    pub fn held_outside(&self) -> Vec<(ObjectId, u32)> {
        let layout = self.types.interpreter.layout;
        let counts = self.objects.iter().zip(&self.explained).enumerate().skip(self.frame_count);
        counts
            .filter_map(|(id, (object, explained))| {
                let more = object.reference_count(layout)?.saturating_sub(u64::from(*explained));
                (more > 0).then(|| (ObjectId(id as u32), u32::try_from(more).unwrap_or(u32::MAX)))
            })
            .collect()
    }

    /// Asks the libraries, and gives each buffer to those who hold it. Returns bytes of mapped files.
    pub fn add_buffers(&mut self, python: Python<'_>) -> Vec<(u64, u64)> {
        let asked: Vec<(Object, Native)> = self.natives.iter().map(|(_, object, native)| (*object, *native)).collect();
        let answers = native::ask(python, &asked);
        let mut regions = Regions::default();
        regions.extend(self.holders().map(|array| heap_region(array.extent)));
        regions.extend(self.mappings.iter().map(|(_, region)| *region));
        regions.extend(answers.iter().flat_map(|answer| answer.regions.all().iter().copied()));
        let columns = self.columns(python);
        let extents = columns.iter().filter_map(|(_, column)| column.extent).map(heap_region);
        let buffers = Buffers::new(&mut self.builder, &regions, extents.collect());
        for (owner, region) in self.claims(&answers) {
            for (buffer, _) in buffers.within(region) {
                self.builder.edge(owner, buffer, EdgeName::BUFFER);
            }
        }
        self.name_columns(&columns, &buffers);
        for ((owner, ..), answer) in self.natives.iter().zip(&answers) {
            self.builder.opaque(*owner, answer.own_bytes);
        }
        self.add_unused(&buffers, &answers);
        let files = regions.merged().into_iter().filter(|region| region.kind == RegionKind::File);
        files.map(|region| (region.address as u64, region.bytes as u64)).collect()
    }

    fn columns(&mut self, python: Python<'_>) -> Vec<(ObjectId, Column)> {
        let mut all = Vec::new();
        for (id, table) in self.tables.clone() {
            // SAFETY: the object was met in this walk, and nothing has ended it since.
            let table = unsafe { Bound::from_borrowed_ptr(python, table.pointer()) };
            all.extend(pandas::columns(&table, &mut self.types).into_iter().map(|column| (id, column)));
        }
        all
    }

    /// A reference from each frame to the parts of its columns: names for what is held through blocks.
    fn name_columns(&mut self, columns: &[(ObjectId, Column)], buffers: &Buffers) {
        for (table, column) in columns {
            let name = EdgeName::key(self.builder.name(&column.label));
            for (buffer, _) in column.extent.into_iter().flat_map(|extent| buffers.within(heap_region(extent))) {
                self.builder.edge(*table, buffer, name);
            }
            for object in &column.objects {
                if let Some(number) = self.numbering.get(*object).filter(|number| *number < LEFT_OUT - 1) {
                    self.builder.edge(*table, ObjectId(number), name);
                }
            }
        }
    }

    fn holders(&self) -> impl Iterator<Item = &ShownArray> {
        self.arrays.iter().filter(|array| array.is_holder)
    }

    /// Who holds which region.
    fn claims(&self, answers: &[native::Answer]) -> Vec<(ObjectId, Region)> {
        let mut claims: Vec<(ObjectId, Region)> =
            self.holders().map(|array| (array.id, heap_region(array.extent))).collect();
        claims.extend(&self.mappings);
        for ((owner, ..), answer) in self.natives.iter().zip(answers) {
            claims.extend(answer.regions.all().iter().map(|region| (*owner, *region)));
        }
        claims
    }

    /// Says of each buffer how much of it nobody shows: only views of an array are left, or slices of Arrow's arrays.
    fn add_unused(&mut self, buffers: &Buffers, answers: &[native::Answer]) {
        let mut used: FxHashMap<ObjectId, (u64, Regions)> = FxHashMap::default();
        // What maps memory, or a value of ctypes, shows all of it.
        let mapped: Vec<Region> = self.mappings.iter().map(|(_, region)| *region).collect();
        let arrays = self.shown_arrays().into_iter().map(|array| heap_region(array.extent));
        for region in arrays.chain(mapped) {
            for (buffer, shown) in buffers.within(region) {
                used.entry(buffer).or_default().1.push(shown);
            }
        }
        for answer in answers {
            for region in answer.regions.all() {
                if let Some(buffer) = buffers.at(region.address) {
                    used.entry(buffer).or_default().0 += answer.used_of(*region);
                }
            }
        }
        for (buffer, bytes) in buffers.all() {
            let (counted, ranges) = used.remove(&buffer).unwrap_or_default();
            let RegionBytes { heap, shared, file } = ranges.bytes();
            let shown = (counted + heap + shared + file).min(bytes);
            if shown < bytes {
                self.builder.fact(buffer, FactKind::UsesPartOf { used: shown }, bytes - shown);
            }
        }
    }

    /// Arrays to which something else than views of them refers.
    fn shown_arrays(&mut self) -> Vec<&ShownArray> {
        let mut by_address: FxHashMap<Object, u64> = FxHashMap::default();
        for base in self.arrays.iter().filter_map(|array| array.base) {
            *by_address.entry(base).or_default() += 1;
        }
        for array in &mut self.arrays {
            array.base_references = by_address.get(&array.object).copied().unwrap_or(0);
        }
        let layout = self.types.interpreter.layout;
        let is_shown = |array: &&ShownArray| {
            array.object.reference_count(layout).is_none_or(|count| count > array.base_references)
        };
        self.arrays.iter().filter(is_shown).collect()
    }

    /// The builder, filled.
    pub fn into_builder(self) -> HeapBuilder {
        self.builder
    }
}

fn heap_region(extent: Extent) -> Region {
    Region { address: extent.address, bytes: extent.bytes, kind: RegionKind::Heap }
}

/// Buffers of the graph by address.
struct Buffers {
    sorted: Vec<(Region, ObjectId)>,
}

impl Buffers {
    /// The regions as nodes, parted where a column begins or ends.
    fn new(builder: &mut HeapBuilder, regions: &Regions, columns: Vec<Region>) -> Self {
        let mut cuts: Vec<usize> = columns.iter().flat_map(|region| [region.address, region.end()]).collect();
        cuts.sort_unstable();
        let merged = regions.merged().into_iter();
        let sorted = merged.flat_map(|region| parted(region, &cuts)).map(|region| {
            let kind = match region.kind {
                RegionKind::Heap => BufferKind::Heap,
                RegionKind::Shared => BufferKind::Shared,
                RegionKind::File => BufferKind::File,
            };
            (region, builder.buffer(region.address as u64, region.bytes as u64, kind))
        });
        Self { sorted: sorted.collect() }
    }

    /// The buffer in which an address lies.
    fn at(&self, address: usize) -> Option<ObjectId> {
        self.within(Region { address, bytes: 1, kind: RegionKind::Heap }).next().map(|(buffer, _)| buffer)
    }

    /// The buffers that a region covers, each with what of it is covered.
    fn within(&self, region: Region) -> impl Iterator<Item = (ObjectId, Region)> {
        let first = self.sorted.partition_point(|(known, _)| known.end() <= region.address);
        let covered = self.sorted[first..].iter().take_while(move |(known, _)| known.address < region.end());
        covered.map(move |(known, id)| {
            let address = known.address.max(region.address);
            (*id, Region { address, bytes: known.end().min(region.end()) - address, kind: known.kind })
        })
    }

    fn all(&self) -> impl Iterator<Item = (ObjectId, u64)> {
        self.sorted.iter().map(|(region, id)| (*id, region.bytes as u64))
    }
}

/// A region in pieces that end at the cuts, which are sorted.
fn parted(region: Region, cuts: &[usize]) -> Vec<Region> {
    let from = cuts.partition_point(|cut| *cut <= region.address);
    let mut pieces = Vec::new();
    let mut start = region.address;
    let inner = cuts[from..].iter().copied().take_while(|cut| *cut < region.end());
    for end in inner.chain([region.end()]).filter(|end| *end > region.address) {
        if end > start {
            pieces.push(Region { address: start, bytes: end - start, kind: region.kind });
        }
        start = end;
    }
    pieces
}

/// None and its like, which everybody refers to and nobody owns; but a long-lived string is memory.
fn is_constant(object: Object, facts: &TypeFacts, interpreter: &Interpreter) -> bool {
    // SAFETY: it is a str.
    let is_static = facts.kind != Kind::Str || unsafe { text::is_static(object) };
    facts.is_leaf && is_static && interpreter.is_everybodys(object)
}

fn flags_of(facts: &TypeFacts, interpreter: &Interpreter) -> TypeFlags {
    // SAFETY: a field of every type object.
    let has_finalizer = unsafe { facts.class.read::<usize>(slot::FINALIZE) } == interpreter.python_finalizer;
    let is_collected = facts.is_collected && facts.kind != Kind::NumpyArray;
    let all = [
        (is_collected, TypeFlags::COLLECTED),
        (has_finalizer, TypeFlags::FINALIZER),
        (facts.kind == Kind::Type, TypeFlags::CLASS),
        (facts.kind == Kind::Module, TypeFlags::MODULE),
        (facts.kind == Kind::Frame, TypeFlags::FRAME),
    ];
    all.into_iter().filter(|(is_set, _)| *is_set).fold(TypeFlags::default(), |sum, (_, flag)| sum | flag)
}

impl Visitor for GraphWalk<'_> {
    #[inline]
    fn edge(&mut self, name: Name, target: Object) {
        if let Some(id) = self.number(target) {
            let name = self.edge_name(name);
            self.explain(id);
            self.builder.edge(self.current, id, name);
        }
    }

    fn is_object(&mut self, target: Object) -> bool {
        self.doubt.is_object(target, &self.types)
    }

    fn outside(&mut self, name: Name, target: Object) {
        if self.rules.as_ref().is_some_and(|rules| !rules.follows_outside()) {
            return;
        }
        match name {
            Name::Weak => {
                if let Some(id) = self.number(target) {
                    self.builder.weak(self.current, id);
                    self.note_callback(id);
                }
            }
            Name::Known("__class__") => {
                if let Some(id) = self.number(target) {
                    self.explain(id);
                    if let Some(type_) = self.type_ids.get(&target) {
                        self.builder.class_object(*type_, id);
                    }
                }
            }
            _ => self.edge(name, target),
        }
    }
}
