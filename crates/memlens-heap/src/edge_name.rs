//! How one object refers to another, in four bytes.
use crate::NameId;

/// What a reference is to the object that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EdgeKind {
    /// An element of a sequence: `[3]`.
    Index = 0,
    /// An attribute, a slot or a field of a C structure: `.name`.
    Attribute = 1,
    /// A value in a mapping, or what a library shows as one: `['price']`. The name is the key's `repr`.
    Key = 2,
    /// The key itself of a mapping. The name is its `repr`.
    KeyObject = 3,
    /// A member of a set.
    Member = 4,
    /// A local variable of a frame.
    Local = 5,
    /// A variable of an enclosing function, held by a closure.
    Cell = 6,
    /// A global variable of a module.
    Global = 7,
    /// The class of an instance. The graph gives this one itself, see [`crate::HeapBuilder::class_object`].
    Class = 8,
    /// The block of bytes that the object owns.
    Buffer = 9,
    /// A reference that some C code holds and that a traversal cannot name.
    Hidden = 10,
}

impl EdgeKind {
    /// Every kind, by its number.
    pub const ALL: [Self; 11] = [
        Self::Index,
        Self::Attribute,
        Self::Key,
        Self::KeyObject,
        Self::Member,
        Self::Local,
        Self::Cell,
        Self::Global,
        Self::Class,
        Self::Buffer,
        Self::Hidden,
    ];

    fn has_name(self) -> bool {
        use EdgeKind::{Attribute, Cell, Global, Key, KeyObject, Local};
        matches!(self, Attribute | Key | KeyObject | Local | Cell | Global)
    }
}

/// A kind and, by the kind, an index or a name.
///
/// ```text
///  31 28 27                         0
///  kind  index, or number of the name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeName(u32);

const VALUE_BITS: u32 = 28;

impl EdgeName {
    /// Largest index or number of a name; an index beyond it is shown as this one.
    pub const MAX_VALUE: u32 = (1 << VALUE_BITS) - 1;

    /// A member of a set.
    pub const MEMBER: Self = Self::new(EdgeKind::Member, 0);
    /// The class of an instance.
    pub const CLASS: Self = Self::new(EdgeKind::Class, 0);
    /// The block of bytes that the object owns.
    pub const BUFFER: Self = Self::new(EdgeKind::Buffer, 0);
    /// What a traversal reports and nothing names.
    pub const HIDDEN: Self = Self::new(EdgeKind::Hidden, 0);

    const fn new(kind: EdgeKind, value: u32) -> Self {
        let value = if value > Self::MAX_VALUE { Self::MAX_VALUE } else { value };
        Self(((kind as u32) << VALUE_BITS) | value)
    }

    /// The element at `index`.
    pub fn index(index: usize) -> Self {
        Self::new(EdgeKind::Index, u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// An attribute.
    pub fn attribute(name: NameId) -> Self {
        Self::new(EdgeKind::Attribute, name.0)
    }

    /// The value under the key whose `repr` is `name`.
    pub fn key(name: NameId) -> Self {
        Self::new(EdgeKind::Key, name.0)
    }

    /// The key whose `repr` is `name`.
    pub fn key_object(name: NameId) -> Self {
        Self::new(EdgeKind::KeyObject, name.0)
    }

    /// A local variable.
    pub fn local(name: NameId) -> Self {
        Self::new(EdgeKind::Local, name.0)
    }

    /// A variable of an enclosing function.
    pub fn cell(name: NameId) -> Self {
        Self::new(EdgeKind::Cell, name.0)
    }

    /// A global variable.
    pub fn global(name: NameId) -> Self {
        Self::new(EdgeKind::Global, name.0)
    }

    /// Which kind it is.
    pub fn kind(self) -> EdgeKind {
        // Every constructor sets a kind that exists, and `from_bits` checks it.
        EdgeKind::ALL.get((self.0 >> VALUE_BITS) as usize).copied().unwrap_or(EdgeKind::Hidden)
    }

    /// The index of an [`EdgeKind::Index`]; 0 of others.
    pub fn index_value(self) -> u32 {
        if self.kind() == EdgeKind::Index { self.value() } else { 0 }
    }

    /// Its name, if its kind has one.
    pub fn name(self) -> Option<NameId> {
        self.kind().has_name().then(|| NameId(self.value()))
    }

    fn value(self) -> u32 {
        self.0 & Self::MAX_VALUE
    }

    /// As it stands in a file.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The opposite of [`EdgeName::bits`]; `None` for a kind that does not exist or a name that is not among `names`.
    pub(crate) fn from_bits(bits: u32, names: usize) -> Option<Self> {
        let kind = *EdgeKind::ALL.get((bits >> VALUE_BITS) as usize)?;
        let is_known = !kind.has_name() || ((bits & Self::MAX_VALUE) as usize) < names;
        is_known.then_some(Self(bits))
    }
}
