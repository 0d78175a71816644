//! What the walker knows about types, frames, roots and single objects.
use crate::{NameId, ObjectId};

/// What all objects of a type have in common; combine with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TypeFlags(pub u8);

impl TypeFlags {
    /// CPython's garbage collector follows the references of its objects (`Py_TPFLAGS_HAVE_GC` and all references are
    /// traversed). A cycle through an object without it is never collected.
    pub const COLLECTED: Self = Self(1);
    /// It has a finalizer written in Python (`__del__`).
    pub const FINALIZER: Self = Self(2);
    /// Its objects are classes.
    pub const CLASS: Self = Self(4);
    /// Its objects are modules.
    pub const MODULE: Self = Self(8);
    /// Its objects are frames.
    pub const FRAME: Self = Self(16);
    /// Its objects are blocks of bytes and no Python objects.
    pub const BUFFER: Self = Self(32);
    /// Its objects are mapped files, which are no heap: they count in no figure but [`crate::Graph::shallow_bytes`].
    pub const FILE: Self = Self(64);

    /// Whether all of `flags` are set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for TypeFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// `DataFrame`.
    pub name: NameId,
    /// `pandas.core.frame`; empty for what has none.
    pub module: NameId,
    /// See there.
    pub flags: TypeFlags,
    /// The class object, if its instances hold a reference to it (types made at run time; not CPython's static types).
    pub class: Option<ObjectId>,
}

/// The memory that a buffer lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferKind {
    /// Malloc and its kin.
    Heap,
    /// An anonymous mapping.
    Mmap,
    /// Memory shared with other processes.
    Shared,
    /// A mapped file: not heap.
    File,
}

impl BufferKind {
    pub(crate) const ALL: [Self; 4] = [Self::Heap, Self::Mmap, Self::Shared, Self::File];

    pub(crate) fn type_flags(self) -> TypeFlags {
        if self == Self::File { TypeFlags::BUFFER | TypeFlags::FILE } else { TypeFlags::BUFFER }
    }

    /// The name of its type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Heap => "buffer",
            Self::Mmap => "buffer (mmap)",
            Self::Shared => "buffer (shared)",
            Self::File => "buffer (file)",
        }
    }
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function's qualified name.
    pub function: NameId,
    /// Path of its file.
    pub file: NameId,
    /// Line, from 1; 0 if it is not known.
    pub line: u32,
}

/// Why an object lives though no object refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// It is the module of this name.
    Module(NameId),
    /// It is a frame of the thread of this name. Give the frame's place by [`crate::HeapBuilder::frame`].
    Frame {
        /// The thread's name, or its number.
        thread: NameId,
    },
    /// The interpreter's own state holds it, in the field of this name.
    Interpreter(NameId),
    /// C code holds this many references to it that no edge explains.
    HeldByC(u32),
    /// Nothing holds it: a cycle that waits for the collector, or that the collector cannot see. The graph finds these
    /// itself; a walker need not give them.
    Unreachable,
}

/// A root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// What is held.
    pub object: ObjectId,
    /// By what.
    pub kind: RootKind,
}

/// What the walker found out about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// A container has room for more than it holds: elements held and elements there is room for.
    OverAllocated {
        /// Held.
        used: u64,
        /// There is room for.
        capacity: u64,
    },
    /// All values fit this smaller element type (`int8`) without a change.
    FitsSmaller {
        /// The smaller type.
        element: NameId,
    },
    /// The object uses only this many bytes of the buffer that it keeps alive: the 80 bytes of a view of 8 MB.
    UsesPartOf {
        /// Bytes used.
        used: u64,
    },
    /// A weak reference to it has a callback.
    WeakrefCallback,
}

/// A [`FactKind`] of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Of which object.
    pub object: ObjectId,
    /// What.
    pub kind: FactKind,
    /// Bytes that would be saved if it were changed; 0 where that says nothing.
    pub saved_bytes: u64,
}

/// Where the graph comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `3.12.1`.
    pub python: String,
    /// Process id.
    pub pid: u32,
    /// Command line.
    pub command: Vec<String>,
    /// When, in nanoseconds since 1970.
    pub time_unix_ns: u64,
    /// Live bytes of the Python heap as the allocators or tracemalloc counted them: what coverage is measured against.
    pub heap_bytes: Option<u64>,
    /// Resident set.
    pub rss_bytes: Option<u64>,
}

impl RootKind {
    /// The name that stands in it.
    pub fn name(self) -> Option<NameId> {
        match self {
            Self::Module(name) | Self::Interpreter(name) | Self::Frame { thread: name } => Some(name),
            Self::HeldByC(_) | Self::Unreachable => None,
        }
    }
}

impl FactKind {
    /// The name that stands in it.
    pub fn name(self) -> Option<NameId> {
        match self {
            Self::FitsSmaller { element } => Some(element),
            Self::OverAllocated { .. } | Self::UsesPartOf { .. } | Self::WeakrefCallback => None,
        }
    }
}
