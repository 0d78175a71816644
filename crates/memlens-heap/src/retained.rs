//! What goes when several objects go, and what belongs to an object.
use crate::{FactKind, Graph, ObjectId, Total};

impl Graph {
    /// What would go if all of `objects` went: everything that every path from a root reaches only through one of them.
    /// For one object [`crate::Dominators::retained_bytes`] is faster.
    pub fn retained(&self, objects: &[ObjectId]) -> Total {
        let mut is_met = vec![false; self.len()];
        objects.iter().for_each(|object| is_met[object.index()] = true);
        let mut left: Vec<ObjectId> = self.roots().iter().map(|root| root.object).collect();
        let mut kept = vec![false; self.len()];
        while let Some(object) = left.pop() {
            if !std::mem::replace(&mut is_met[object.index()], true) {
                kept[object.index()] = true;
                left.extend(self.successors(object).filter(|to| !is_met[to.index()]));
            }
        }
        let mut total = Total::default();
        for object in self.objects().filter(|object| !kept[object.index()]) {
            total.add(self.own_bytes(object));
        }
        total
    }

    /// Everything that can be reached from the object over objects for which `belongs` says yes, itself included. `belongs`
    /// is asked once an object, and not about the object itself.
    pub fn reachable(&self, object: ObjectId, mut belongs: impl FnMut(ObjectId) -> bool) -> Vec<ObjectId> {
        let mut is_met = vec![false; self.len()];
        is_met[object.index()] = true;
        let mut found = vec![object];
        let mut at = 0;
        while let Some(object) = found.get(at).copied() {
            at += 1;
            for to in self.successors(object) {
                if !std::mem::replace(&mut is_met[to.index()], true) && belongs(to) {
                    found.push(to);
                }
            }
        }
        found
    }

    /// Sizes of an object; `belongs` says what counts to its deep size.
    pub fn sizes(&self, object: ObjectId, belongs: impl FnMut(ObjectId) -> bool) -> Sizes {
        let parts = self.reachable(object, belongs);
        Sizes {
            shallow_bytes: self.own_bytes(object),
            deep_bytes: parts.iter().fold(0, |sum: u64, part| sum.saturating_add(self.own_bytes(*part))),
            retained_bytes: self.dominators().retained_bytes(object),
            pinned_bytes: parts.iter().fold(0, |sum: u64, part| sum.saturating_add(self.unused_bytes(*part))),
        }
    }

    /// Bytes that the object keeps alive and does not use, by the walker's facts: those of a large array under a small view.
    fn unused_bytes(&self, object: ObjectId) -> u64 {
        let from = self.facts().partition_point(|fact| fact.object < object);
        let own = self.facts()[from..].iter().take_while(|fact| fact.object == object);
        own.filter(|fact| matches!(fact.kind, FactKind::UsesPartOf { .. })).map(|fact| fact.saved_bytes).sum()
    }
}

/// Sizes of an object in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The object itself.
    pub shallow_bytes: u64,
    /// Everything that belongs to it.
    pub deep_bytes: u64,
    /// What would go if it went.
    pub retained_bytes: u64,
    /// What it keeps alive without using it.
    pub pinned_bytes: u64,
}
