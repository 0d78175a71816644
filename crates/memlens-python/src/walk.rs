//! Everything that an object reaches and that belongs to it, each object and each buffer once.
//!
//! Two phases. First the walk: no Python code runs, no reference count is touched, nothing of the program changes; what is yet to be
//! visited stands in a list, so that no depth is too deep. Then [`crate::native`] asks the libraries whose memory no
//! traversal shows.
use crate::coder::CoderStates;
use crate::ctypes;
use crate::doubt::Doubt;
use crate::edge::{self, Name, Visitor};
use crate::interpreter::Interpreter;
use crate::marks::Marks;
use crate::native;
use crate::numpy;
use crate::object::Object;
use crate::region::{Region, RegionBytes, RegionKind, Regions};
use crate::rule::{Included, Rules};
use crate::size;
use crate::type_facts::{Kind, Native, TypeFacts, TypeTable};
use pyo3::prelude::*;
use std::rc::Rc;

/// The sum of a walk.
pub struct Walk<'a> {
    pub types: TypeTable<'a>,
    rules: Rules,
    marks: Marks,
    pending: Vec<Object>,
    /// Bytes of the objects' own blocks.
    pub own_bytes: u64,
    /// Buffers that several objects can show.
    pub regions: Regions,
    /// Objects whose buffers only their library knows.
    pub natives: Vec<(Object, Native)>,
    coders: CoderStates,
    doubt: Doubt,
}

impl<'a> Walk<'a> {
    pub fn new(interpreter: &'a Interpreter, included: Included) -> Self {
        let mut types = TypeTable::new(interpreter);
        let rules = Rules::new(&mut types, included);
        Self {
            types,
            rules,
            marks: Marks::new(),
            pending: Vec::new(),
            own_bytes: 0,
            regions: Regions::default(),
            natives: Vec::new(),
            coders: CoderStates::default(),
            doubt: Doubt::default(),
        }
    }

    /// Counts an object and all that it leads to. It is counted itself even if a rule would leave it out.
    pub fn add(&mut self, root: Object) {
        if !self.marks.insert(root.address()) {
            return;
        }
        self.pending.push(root);
        let is_module = self.types.of(root.type_of()).kind == Kind::Module;
        if is_module {
            self.add_namespace(root);
        }
        while let Some(object) = self.pending.pop() {
            let facts = Rc::clone(self.types.of(object.type_of()));
            self.count(object, &facts);
            edge::visit(object, &facts, self.types.interpreter.layout, self);
        }
    }

    /// The dict of a module that the caller named is no longer left out.
    fn add_namespace(&mut self, module: Object) {
        // SAFETY: it is a module.
        if let Some(namespace) = unsafe { module.field(crate::rule::MODULE_DICT) }
            && self.marks.insert(namespace.address())
        {
            self.pending.push(namespace);
        }
    }

    #[inline]
    fn count(&mut self, object: Object, facts: &TypeFacts) {
        self.own_bytes += size::own_bytes(object, facts, self.types.interpreter) as u64;
        match facts.kind {
            Kind::NumpyArray => self.add_array(object),
            Kind::Mmap => self.regions.extend(mapped_region(object)),
            Kind::CData => self.regions.extend(ctypes::buffer(object, facts)),
            Kind::Coder(coder) => self.own_bytes += self.coders.held_bytes(object, coder),
            Kind::Native(native) => self.natives.push((object, native)),
            _ => {}
        }
    }

    fn add_array(&mut self, object: Object) {
        let Some(array) = numpy::array(object) else {
            return;
        };
        let (address, bytes) = (array.extent.address, array.extent.bytes);
        if array.is_owner {
            self.regions.push(Region { address, bytes, kind: RegionKind::Heap });
            self.own_bytes += numpy::string_bytes(&array) as u64;
        } else if array.base.is_none_or(|base| !self.types.of(base.type_of()).shows_its_memory()) {
            self.regions.push(Region { address, bytes, kind: RegionKind::Heap });
        }
    }

    /// Asks the libraries, and sums up.
    pub fn finish(mut self, python: Python<'_>) -> Total {
        for answer in native::ask(python, &self.natives) {
            self.own_bytes += answer.own_bytes;
            for region in answer.regions.all() {
                let region = self.located(*region);
                self.regions.push(region);
            }
        }
        Total { own_bytes: self.own_bytes, regions: self.regions.bytes() }
    }

    /// A buffer that a library named may lie in a bytes object that was counted, or in a mapped file.
    fn located(&self, region: Region) -> Region {
        let is_counted =
            region.address.checked_sub(BYTES_HEADER).and_then(Object::at).is_some_and(|owner| self.contains(owner));
        if is_counted { Region { bytes: 0, ..region } } else { region }
    }

    /// Whether an object was counted.
    fn contains(&self, object: Object) -> bool {
        self.marks.contains(object.address())
    }
}

/// `offsetof(PyBytesObject, ob_sval)`.
const BYTES_HEADER: usize = 32;

/// What a walk found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// Bytes of the objects' own blocks.
    pub own_bytes: u64,
    /// Bytes of buffers.
    pub regions: RegionBytes,
}

impl Total {
    /// Bytes of objects and buffers; pages of files are not among them.
    pub fn deep_bytes(&self) -> u64 {
        self.own_bytes + self.regions.heap + self.regions.shared
    }
}

/// What an `mmap` maps.
pub fn mapped_region(object: Object) -> Option<Region> {
    // SAFETY: the object is a mapping.
    let (address, bytes, descriptor) = unsafe { size::mapping(object) }?;
    Some(Region { address, bytes, kind: descriptor.map_or(RegionKind::Heap, RegionKind::of_file) })
}

impl Visitor for Walk<'_> {
    #[inline]
    fn edge(&mut self, _name: Name, target: Object) {
        let is_skipped = self.rules.skips_immortal() && self.types.interpreter.is_everybodys(target);
        if is_skipped || !self.marks.insert(target.address()) {
            return;
        }
        let facts = self.types.of(target.type_of());
        let facts = Rc::clone(facts);
        if self.rules.leaves_out(target, &facts, self.types.interpreter) {
            return;
        }
        if facts.is_leaf { self.count(target, &facts) } else { self.pending.push(target) }
    }

    fn is_object(&mut self, target: Object) -> bool {
        self.doubt.is_object(target, &self.types)
    }

    fn outside(&mut self, name: Name, target: Object) {
        if name != Name::Weak && self.rules.follows_outside() {
            self.edge(name, target);
        }
    }
}
