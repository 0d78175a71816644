//! Bytes that could be had back: equal contents, and what the walker found sparse.
use crate::{EdgeKind, Fact, FactKind, Graph, ObjectId, TypeId};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Objects of one type with equal contents, by their hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// Their type.
    pub type_id: TypeId,
    /// At least two, by number.
    pub objects: Vec<ObjectId>,
    /// Bytes of the first, with the buffers that it owns.
    pub each_bytes: u64,
    /// Bytes of all but the largest of them.
    pub wasted_bytes: u64,
}

impl Graph {
    /// Groups of objects that have equal contents, by what they waste.
    pub fn duplicates(&self) -> Vec<Duplicates> {
        let mut groups = Vec::new();
        for same_hash in self.extras.contents.chunk_by(|left, right| left.0 == right.0) {
            let mut by_type: FxHashMap<TypeId, Vec<ObjectId>> = FxHashMap::default();
            for (_, object) in same_hash {
                let object = ObjectId(*object);
                by_type.entry(self.type_id(object)).or_default().push(object);
            }
            let several = by_type.into_iter().filter(|(_, objects)| objects.len() > 1);
            groups.extend(several.map(|(type_id, objects)| self.duplicates_of(type_id, objects)));
        }
        groups.sort_by_key(|group| (Reverse(group.wasted_bytes), group.objects[0]));
        groups
    }

    fn duplicates_of(&self, type_id: TypeId, objects: Vec<ObjectId>) -> Duplicates {
        let bytes: Vec<u64> = objects.iter().map(|object| self.bytes_with_buffers(*object)).collect();
        let largest = bytes.iter().copied().max().unwrap_or(0);
        let wasted_bytes = bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) - largest;
        Duplicates { type_id, objects, each_bytes: bytes[0], wasted_bytes }
    }

    /// The object and the blocks of bytes that it owns.
    pub fn bytes_with_buffers(&self, object: ObjectId) -> u64 {
        let buffers = self.edges(object).filter(|edge| edge.name.kind() == EdgeKind::Buffer);
        buffers.fold(self.own_bytes(object), |sum, edge| sum.saturating_add(self.own_bytes(edge.to)))
    }

    /// Containers with more room than they need, columns that fit a smaller type, views that keep much more than they use;
    /// by what could be saved.
    pub fn sparse(&self) -> Vec<Fact> {
        let saves = |fact: &&Fact| fact.saved_bytes > 0 && fact.kind != FactKind::WeakrefCallback;
        let mut facts: Vec<Fact> = self.facts().iter().filter(saves).copied().collect();
        facts.sort_by_key(|fact| (Reverse(fact.saved_bytes), fact.object));
        facts
    }
}
