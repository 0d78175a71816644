//! The names of an object's references, shared by all objects that have the same ones in the same order.
//!
//! Objects of a class mostly have the same attributes, and a sequence has the indices from 0 on; so that four bytes an object
//! stand for four bytes a reference.
use crate::EdgeName;
use crate::text_pool::lengths;
use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// The shape of sequences, and of objects without references: index 0, 1, 2, … however many.
pub(crate) const INDEXED: u32 = 0;

/// Lists of names by number; number 0 is [`INDEXED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShapeTable {
    names: Vec<EdgeName>,
    /// Where each ends, with one for [`INDEXED`].
    ends: Vec<u32>,
}

impl Default for ShapeTable {
    fn default() -> Self {
        Self { names: Vec::new(), ends: vec![0] }
    }
}

impl ShapeTable {
    /// The names of a shape; nothing for [`INDEXED`].
    pub(crate) fn get(&self, shape: u32) -> &[EdgeName] {
        match shape {
            INDEXED => &[],
            shape => {
                let index = shape as usize;
                &self.names[self.ends[index - 1] as usize..self.ends[index] as usize]
            }
        }
    }

    /// The name of the reference at a position.
    #[inline]
    pub(crate) fn name(&self, shape: u32, position: usize) -> EdgeName {
        if shape == INDEXED { EdgeName::index(position) } else { self.get(shape)[position] }
    }

    /// The names of all shapes, one after the other.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = EdgeName> {
        self.names.iter().copied()
    }

    /// How many, with [`INDEXED`].
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The length of each, with 0 for [`INDEXED`].
    pub(crate) fn lengths(&self) -> impl Iterator<Item = u32> {
        lengths(&self.ends)
    }

    /// The opposite of [`ShapeTable::all_names`] and [`ShapeTable::lengths`].
    pub(crate) fn from_parts(names: Vec<EdgeName>, ends: Vec<u32>) -> Option<Self> {
        let is_whole = ends.first() == Some(&0) && ends.last().map(|end| *end as usize) == Some(names.len());
        is_whole.then_some(Self { names, ends })
    }

    /// Adds a shape, whether or not it is there already; `None` when the table is full.
    pub(crate) fn push(&mut self, names: &[EdgeName]) -> Option<u32> {
        let end = u32::try_from(self.names.len() + names.len()).ok()?;
        let shape = u32::try_from(self.ends.len()).ok()?;
        self.names.extend_from_slice(names);
        self.ends.push(end);
        Some(shape)
    }
}

/// A table that finds what it has.
#[derive(Debug, Default)]
pub(crate) struct ShapeInterner {
    table: ShapeTable,
    index: HashTable<u32>,
}

fn hash_of(names: &[EdgeName]) -> u64 {
    let mut hasher = FxHasher::default();
    for name in names {
        hasher.write_u32(name.bits());
    }
    hasher.finish()
}

fn is_indexed(names: &[EdgeName]) -> bool {
    names.iter().enumerate().all(|(position, name)| *name == EdgeName::index(position))
}

impl ShapeInterner {
    /// The number of the shape, added if it is new; `None` when the table is full.
    pub(crate) fn intern(&mut self, names: &[EdgeName]) -> Option<u32> {
        if is_indexed(names) {
            return Some(INDEXED);
        }
        let hash = hash_of(names);
        let table = &mut self.table;
        if let Some(found) = self.index.find(hash, |shape| table.get(*shape) == names) {
            return Some(*found);
        }
        let shape = table.push(names)?;
        self.index.insert_unique(hash, shape, |shape| hash_of(table.get(*shape)));
        Some(shape)
    }

    /// The shapes that there are.
    pub(crate) fn table(&self) -> &ShapeTable {
        &self.table
    }

    /// The shapes alone.
    pub(crate) fn finish(self) -> ShapeTable {
        self.table
    }
}
