//! Dense numbers for the things of a graph.

/// An object, frame or buffer. In a [`crate::Graph`] the numbers are those of a depth-first search from the roots; a
/// [`crate::HeapBuilder`] numbers in the order of its calls, and its numbers mean nothing to the finished graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

/// A type, whose name need not be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// An interned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

impl ObjectId {
    /// Its place in columns.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl TypeId {
    /// Its place in tables.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
