//! Totals by type and by module, and the largest objects.
use crate::dominator_tree::Visit;
use crate::preorder::NONE;
use crate::{Edge, EdgeKind, Graph, NameId, ObjectId, RootKind, TypeFlags, TypeId};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// References that are looked at for a `__dict__`.
const MOST_ATTRIBUTES: usize = 64;

/// A number of objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    /// Bytes, opaque ones included.
    pub bytes: u64,
    /// Objects.
    pub count: u64,
}

impl Total {
    /// Counts one object in.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.count += 1;
    }
}

/// All objects of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeTotal {
    /// The type.
    pub type_id: TypeId,
    /// The objects themselves.
    pub own: Total,
    /// Bytes that would go if all of them went, as far as single ones dominate them: what two of them keep together is
    /// left out.
    pub retained_bytes: u64,
}

/// What reaches an object first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The module of this name.
    Module(NameId),
    /// Frames of this thread, and no module.
    Thread(NameId),
    /// The interpreter's own state alone.
    Interpreter,
    /// C code alone.
    C,
    /// Nothing.
    Nothing,
}

impl Holder {
    fn of(kind: RootKind) -> Self {
        match kind {
            RootKind::Module(name) => Self::Module(name),
            RootKind::Frame { thread } => Self::Thread(thread),
            RootKind::Interpreter(_) => Self::Interpreter,
            RootKind::HeldByC(_) => Self::C,
            RootKind::Unreachable => Self::Nothing,
        }
    }

    /// In which round its objects are given out.
    fn round(self) -> u8 {
        match self {
            Self::Module(_) => 0,
            Self::Thread(_) => 1,
            Self::Interpreter => 2,
            Self::C => 3,
            Self::Nothing => 4,
        }
    }
}

impl Graph {
    /// All objects together; mapped files are counted as objects but not in bytes.
    pub fn total(&self) -> Total {
        let mut total = Total::default();
        self.objects().for_each(|object| total.add(self.own_bytes(object)));
        total
    }

    /// Each type that has objects, by their own bytes.
    pub fn by_type(&self) -> Vec<TypeTotal> {
        let total =
            |index: usize| TypeTotal { type_id: TypeId(index as u32), own: Total::default(), retained_bytes: 0 };
        let mut totals: Vec<TypeTotal> = (0..self.types().len()).map(total).collect();
        for object in self.objects() {
            totals[self.type_id(object).index()].own.add(self.own_bytes(object));
        }
        self.add_retained(&mut totals);
        totals.retain(|total| total.own.count > 0);
        totals.sort_by_key(|total| (Reverse(total.own), total.type_id));
        totals
    }

    /// Counts what an object retains unless a dominator of the same type has counted it.
    fn add_retained(&self, totals: &mut [TypeTotal]) {
        let dominators = self.dominators();
        let mut open = vec![0_u32; totals.len()];
        self.dominator_tree().walk(|visit| match visit {
            Visit::Enter(object) => {
                let type_ = self.type_id(object).index();
                if open[type_] == 0 {
                    let retained = &mut totals[type_].retained_bytes;
                    *retained = retained.saturating_add(dominators.retained_bytes(object));
                }
                open[type_] += 1;
            }
            Visit::Leave(object) => open[self.type_id(object).index()] -= 1,
        });
    }

    /// Each object's bytes with the module that it is the fewest references away from; what no module reaches with threads,
    /// the interpreter, C code, nothing, in this order. Largest first.
    pub fn by_module(&self) -> Vec<(Holder, Total)> {
        let mut holders = Holders::default();
        let mut owners = vec![NONE; self.len()];
        for round in 0..5 {
            let mut queue = VecDeque::new();
            let roots = self.roots().iter().map(|root| (root.object, Holder::of(root.kind)));
            for (object, holder) in roots.filter(|(_, holder)| holder.round() == round) {
                if owners[object.index()] == NONE {
                    owners[object.index()] = holders.number(holder);
                    queue.push_back(object.0);
                }
            }
            self.spread(&mut owners, queue);
        }
        self.sum_by_owner(&holders.list, &owners)
    }

    /// Breadth first: whoever reaches an object first owns it.
    fn spread(&self, owners: &mut [u32], mut queue: VecDeque<u32>) {
        while let Some(object) = queue.pop_front() {
            for to in self.successors(ObjectId(object)) {
                if owners[to.index()] == NONE {
                    owners[to.index()] = owners[object as usize];
                    queue.push_back(to.0);
                }
            }
        }
    }

    fn sum_by_owner(&self, holders: &[Holder], owners: &[u32]) -> Vec<(Holder, Total)> {
        let mut totals = vec![Total::default(); holders.len()];
        for (object, owner) in self.objects().zip(owners) {
            if let Some(total) = totals.get_mut(*owner as usize) {
                total.add(self.own_bytes(object));
            }
        }
        let mut rows: Vec<(Holder, Total)> = holders.iter().copied().zip(totals).collect();
        rows.sort_by_key(|(_, total)| Reverse(*total));
        rows
    }

    /// The `count` objects that retain most, largest first.
    pub fn top(&self, count: usize) -> Vec<ObjectId> {
        self.largest(count, |_| true)
    }

    /// The same without those that only hand on: an object that retains at least 95 % of what its dominator retains stands
    /// for the dominator as well.
    pub fn top_without_wrappers(&self, count: usize) -> Vec<ObjectId> {
        let dominators = self.dominators();
        let mut is_wrapper = vec![false; self.len()];
        // A dominator has the smaller number: what it dominates has been looked at before it.
        for object in self.objects().rev() {
            if let Some(above) = dominators.immediate(object) {
                let (part, whole) = (dominators.retained_bytes(object), dominators.retained_bytes(above));
                if u128::from(part) * 100 >= u128::from(whole) * 95 {
                    is_wrapper[above.index()] |= is_wrapper[object.index()] || !self.is_part(object);
                }
            }
        }
        self.largest(count, |object| !is_wrapper[object.index()] && !self.is_part(object))
    }

    /// Whether the object is only the inside of its dominator: the block of bytes of an array, the dictionary of an instance
    /// or a module. People know the whole by its name.
    pub fn is_part(&self, object: ObjectId) -> bool {
        let Some(whole) = self.dominators().immediate(object) else { return false };
        // What has attributes has few references; what has many is a container.
        let mut edges = self.edges(whole).take(MOST_ATTRIBUTES);
        self.is_a(object, TypeFlags::BUFFER) || edges.any(|edge| edge.to == object && self.is_dict_of(edge))
    }

    /// The dictionaries of all modules.
    pub(crate) fn module_dicts(&self) -> FxHashSet<ObjectId> {
        let modules = self.roots().iter().filter(|root| matches!(root.kind, RootKind::Module(_)));
        let edges = modules.flat_map(|module| self.edges(module.object).take(MOST_ATTRIBUTES));
        edges.filter(|edge| self.is_dict_of(*edge)).map(|edge| edge.to).collect()
    }

    fn is_dict_of(&self, edge: Edge) -> bool {
        edge.name.kind() == EdgeKind::Attribute && edge.name.name().is_some_and(|name| self.name(name) == "__dict__")
    }

    fn largest(&self, count: usize, is_wanted: impl Fn(ObjectId) -> bool) -> Vec<ObjectId> {
        let dominators = self.dominators();
        let key = |object: &ObjectId| (Reverse(dominators.retained_bytes(*object)), *object);
        let mut best: Vec<ObjectId> = Vec::new();
        let mut least = 0;
        for object in self.objects() {
            if dominators.retained_bytes(object) < least || !is_wanted(object) {
                continue;
            }
            best.push(object);
            // Now and then all but the best are dropped, which costs a comparison or two an object.
            if best.len() >= 2 * count.max(500) {
                best.select_nth_unstable_by_key(count, key);
                best.truncate(count);
                least = best.iter().map(|object| dominators.retained_bytes(*object)).min().unwrap_or(0);
            }
        }
        best.sort_by_key(key);
        best.truncate(count);
        best
    }
}

/// Holders by number, each once.
#[derive(Default)]
struct Holders {
    list: Vec<Holder>,
    index: FxHashMap<Holder, u32>,
}

impl Holders {
    fn number(&mut self, holder: Holder) -> u32 {
        *self.index.entry(holder).or_insert_with(|| {
            self.list.push(holder);
            (self.list.len() - 1) as u32
        })
    }
}
