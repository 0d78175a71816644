//! Two snapshots of one process: what is new, gone and grown.
//!
//! An object of the later snapshot is the same as one of the earlier if address and type's name agree. An object that took the
//! place of a released one of its own type is therefore taken for the old one: a diff may miss new objects, never invents
//! any.
use crate::preorder::NONE;
use crate::{Graph, ObjectId, Total};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// What changed from an earlier snapshot to a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// All objects before.
    pub before: Total,
    /// All objects after.
    pub after: Total,
    /// Objects only in the later one.
    pub new: Total,
    /// Objects only in the earlier one.
    pub gone: Total,
    /// Each type whose objects changed, by the growth of their bytes.
    pub types: Vec<TypeChange>,
    /// Those that keep new objects alive, by the bytes of these.
    pub holders: Vec<HolderGrowth>,
    /// Objects that are larger than before, by their growth.
    pub grown: Vec<Grown>,
}

/// Objects of a type before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeChange {
    /// The type's full name.
    pub name: String,
    /// Before.
    pub before: Total,
    /// After.
    pub after: Total,
    /// Only after.
    pub new: Total,
    /// Only before.
    pub gone: Total,
}

/// New objects under the nearest dominator that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderGrowth {
    /// Of the later snapshot; `None` where no single old object keeps them alive.
    pub holder: Option<ObjectId>,
    /// The new objects.
    pub new: Total,
}

/// An object that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Of the later snapshot.
    pub object: ObjectId,
    /// Own bytes before.
    pub before_bytes: u64,
    /// Own bytes after.
    pub after_bytes: u64,
}

impl Graph {
    /// What changed since `before` was taken of the same process.
    pub fn diff(&self, before: &Graph) -> Diff {
        let mut comparison = Comparison::new(before, self);
        comparison.match_objects();
        let holders = comparison.holders();
        comparison.finish(holders)
    }
}

/// Types of both snapshots under one number for each name.
struct Comparison<'g> {
    before: &'g Graph,
    after: &'g Graph,
    before_types: Vec<usize>,
    after_types: Vec<usize>,
    is_new: Vec<bool>,
    diff: Diff,
}

impl<'g> Comparison<'g> {
    fn new(before: &'g Graph, after: &'g Graph) -> Self {
        let mut changes: Vec<TypeChange> = Vec::new();
        let mut index: FxHashMap<String, usize> = FxHashMap::default();
        let mut numbers = |graph: &Graph| {
            let names = (0..graph.types().len() as u32).map(|id| graph.type_name(crate::TypeId(id)));
            let number = |name: String| {
                *index.entry(name.clone()).or_insert_with(|| {
                    let none = Total::default();
                    changes.push(TypeChange { name, before: none, after: none, new: none, gone: none });
                    changes.len() - 1
                })
            };
            names.map(number).collect()
        };
        let (before_types, after_types) = (numbers(before), numbers(after));
        let diff = Diff { before: before.total(), after: after.total(), types: changes, ..Diff::default() };
        Self { before, after, before_types, after_types, is_new: vec![false; after.len()], diff }
    }

    /// Both lists run by address.
    fn match_objects(&mut self) {
        let (before, after) = (self.before, self.after);
        let mut old = before.by_address().iter().map(|object| ObjectId(*object)).peekable();
        for new in after.by_address().iter().map(|object| ObjectId(*object)) {
            let address = after.address(new);
            while let Some(gone) = old.next_if(|old| before.address(*old) < address) {
                self.take_gone(gone);
            }
            match old.next_if(|old| before.address(*old) == address) {
                Some(old) if self.before_type(old) == self.after_type(new) => self.take_kept(old, new),
                Some(old) => {
                    self.take_gone(old);
                    self.take_new(new);
                }
                None => self.take_new(new),
            }
        }
        old.for_each(|gone| self.take_gone(gone));
    }

    fn before_type(&self, object: ObjectId) -> usize {
        self.before_types[self.before.type_id(object).index()]
    }

    fn after_type(&self, object: ObjectId) -> usize {
        self.after_types[self.after.type_id(object).index()]
    }

    fn take_gone(&mut self, object: ObjectId) {
        let bytes = self.before.own_bytes(object);
        let type_ = self.before_type(object);
        let change = &mut self.diff.types[type_];
        [&mut change.before, &mut change.gone, &mut self.diff.gone].into_iter().for_each(|total| total.add(bytes));
    }

    fn take_new(&mut self, object: ObjectId) {
        let bytes = self.after.own_bytes(object);
        self.is_new[object.index()] = true;
        let type_ = self.after_type(object);
        let change = &mut self.diff.types[type_];
        [&mut change.after, &mut change.new, &mut self.diff.new].into_iter().for_each(|total| total.add(bytes));
    }

    fn take_kept(&mut self, old: ObjectId, new: ObjectId) {
        let (before_bytes, after_bytes) = (self.before.own_bytes(old), self.after.own_bytes(new));
        let type_ = self.after_type(new);
        let change = &mut self.diff.types[type_];
        change.before.add(before_bytes);
        change.after.add(after_bytes);
        if after_bytes > before_bytes {
            self.diff.grown.push(Grown { object: new, before_bytes, after_bytes });
        }
    }

    /// A dominator has a smaller number than what it dominates, so that one pass finds the nearest old one.
    fn holders(&self) -> Vec<HolderGrowth> {
        let dominators = self.after.dominators();
        let mut holder = vec![NONE; self.after.len()];
        let mut growth: FxHashMap<u32, Total> = FxHashMap::default();
        for object in self.after.objects().filter(|object| self.is_new[object.index()]) {
            let nearest = match dominators.immediate(object) {
                Some(above) if self.is_new[above.index()] => holder[above.index()],
                Some(above) => above.0,
                None => NONE,
            };
            holder[object.index()] = nearest;
            growth.entry(nearest).or_default().add(self.after.own_bytes(object));
        }
        let known = |holder: u32| Some(ObjectId(holder)).filter(|_| holder != NONE);
        growth.into_iter().map(|(holder, new)| HolderGrowth { holder: known(holder), new }).collect()
    }

    fn finish(self, mut holders: Vec<HolderGrowth>) -> Diff {
        let mut diff = self.diff;
        holders.sort_by_key(|growth| (Reverse(growth.new), growth.holder));
        diff.holders = holders;
        diff.grown.sort_by_key(|grown| (Reverse(grown.after_bytes - grown.before_bytes), grown.object));
        diff.types.retain(|change| change.new.count > 0 || change.gone.count > 0 || change.before != change.after);
        let growth = |change: &TypeChange| i128::from(change.after.bytes) - i128::from(change.before.bytes);
        diff.types.sort_by(|left, right| growth(right).cmp(&growth(left)).then_with(|| left.name.cmp(&right.name)));
        diff
    }
}
