//! Whether what a C extension's `tp_traverse` shows is an object at all.
//!
//! The collector calls `tp_traverse` only of objects that it tracks, so that a traversal with an error may never have run before a walk runs it: it shows a
//! field that was released, or one that was never set. What such a function shows is looked at through the kernel before it is followed.
use crate::memory::OwnMemory;
use crate::object::Object;
use crate::type_facts::{self, TypeTable};
use rustc_hash::FxHashSet;

/// Addresses that were found to be readable, so that most questions take no system call.
#[derive(Default)]
pub struct Doubt {
    memory: Option<OwnMemory>,
    pages: FxHashSet<usize>,
}

impl Doubt {
    /// Whether there is an object at an address: a count of references that can be, and a type. What was released has the address of the next free
    /// block, or nothing, where its count was.
    pub fn is_object(&mut self, target: Object, types: &TypeTable<'_>) -> bool {
        if !self.is_readable(target.address()) || !self.is_readable(target.address() + HEADER - 1) {
            return false;
        }
        // SAFETY: both words were just found to be readable.
        let count = unsafe { target.read::<u64>(0) };
        let is_counted = count != 0 && count & NO_COUNT == 0;
        let class = target.type_of();
        is_counted && (types.knows(class) || self.is_type(class, types))
    }

    fn is_type(&mut self, class: Object, types: &TypeTable<'_>) -> bool {
        let is_there = |doubt: &mut Self, at: Object| {
            at.address().is_multiple_of(8)
                && doubt.is_readable(at.address())
                && doubt.is_readable(at.address() + TYPE_BYTES)
        };
        // A class is an instance of `type`, or of a class derived from it.
        is_there(self, class)
            && type_facts::is_ready(class)
            && (class.type_of() == types.interpreter.type_type
                || is_there(self, class.type_of()) && type_facts::makes_classes(class.type_of()))
    }

    fn is_readable(&mut self, address: usize) -> bool {
        let page = address / PAGE;
        if self.pages.contains(&page) {
            return true;
        }
        if self.memory.is_none() {
            self.memory = OwnMemory::open();
        }
        let is_readable = self.memory.as_ref().is_some_and(|memory| memory.is_readable(address));
        if is_readable {
            self.pages.insert(page);
        }
        is_readable
    }
}

const PAGE: usize = 4096;
/// `sizeof(PyObject)`.
const HEADER: usize = 16;
/// Bits that no count of references has: 3.14 keeps flags above them. An address has.
const NO_COUNT: u64 = 0xFFFF << 32;
/// `sizeof(PyTypeObject)` in 3.8, the smallest.
const TYPE_BYTES: usize = 400;
