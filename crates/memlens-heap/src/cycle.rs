//! Reference cycles: groups of objects that all reach each other.
use crate::preorder::{NONE, successor};
use crate::{Edge, FactKind, Graph, ObjectId, RootKind, TypeFlags};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;

/// Objects that all reach each other, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// They, by number.
    pub objects: Vec<ObjectId>,
    /// Their own bytes.
    pub bytes: u64,
    /// Nothing outside keeps them alive: they wait for the collector, or for ever.
    pub is_unreachable: bool,
    /// A reference of the cycle is held by an object whose references CPython's collector does not follow (an array of
    /// objects): some of it is never collected.
    pub is_unseen: bool,
    /// One of them has a finalizer written in Python.
    pub has_finalizer: bool,
    /// A weak reference to one of them has a callback.
    pub has_weakref_callback: bool,
    /// One of them is a module: part of the program itself rather than of its data.
    pub holds_module: bool,
    /// One of them is a class: every class is in a cycle with its own dictionary and order of bases.
    pub holds_class: bool,
}

impl Graph {
    /// Every cycle: those that the collector cannot see first, then by bytes. An object that refers to itself is one.
    pub fn cycles(&self) -> Vec<Cycle> {
        let members = Components::new(self).groups;
        let (is_live, watched) = (self.live_objects(), self.watched_objects());
        let cycle = |objects| self.cycle(objects, &is_live, &watched);
        let mut cycles: Vec<Cycle> = members.into_iter().map(cycle).collect();
        cycles.sort_by_key(|cycle| (!cycle.is_unseen, Reverse(cycle.bytes), cycle.objects[0]));
        cycles
    }

    fn cycle(&self, mut objects: Vec<ObjectId>, is_live: &[bool], watched: &FxHashSet<ObjectId>) -> Cycle {
        objects.sort_unstable();
        let any = |flags: TypeFlags| objects.iter().any(|object| self.is_a(*object, flags));
        let (has_finalizer, holds_module) = (any(TypeFlags::FINALIZER), any(TypeFlags::MODULE));
        let holds_class = any(TypeFlags::CLASS);
        Cycle {
            bytes: objects.iter().fold(0, |sum: u64, object| sum.saturating_add(self.own_bytes(*object))),
            is_unreachable: !is_live[objects[0].index()],
            is_unseen: objects.iter().any(|object| !self.is_a(*object, TypeFlags::COLLECTED)),
            has_finalizer,
            has_weakref_callback: objects.iter().any(|object| watched.contains(object)),
            holds_module,
            holds_class,
            objects,
        }
    }

    /// Objects with a weak reference that has a callback.
    fn watched_objects(&self) -> FxHashSet<ObjectId> {
        let watched = self.facts().iter().filter(|fact| fact.kind == FactKind::WeakrefCallback);
        watched.map(|fact| fact.object).collect()
    }

    /// What some root keeps alive.
    fn live_objects(&self) -> Vec<bool> {
        let mut is_live = vec![false; self.len()];
        let live = self.roots().iter().filter(|root| root.kind != RootKind::Unreachable);
        let mut left: Vec<ObjectId> = live.map(|root| root.object).collect();
        while let Some(object) = left.pop() {
            if !std::mem::replace(&mut is_live[object.index()], true) {
                left.extend(self.successors(object).filter(|to| !is_live[to.index()]));
            }
        }
        is_live
    }

    /// A shortest way round the cycle: from the object that shows best why it is one, back to the same.
    pub fn way_round(&self, cycle: &Cycle) -> (ObjectId, Vec<Edge>) {
        let is_unseen = |object: &&ObjectId| !self.is_a(**object, TypeFlags::COLLECTED);
        let start = *cycle.objects.iter().find(is_unseen).unwrap_or(&cycle.objects[0]);
        let place = |object: ObjectId| cycle.objects.binary_search(&object).ok();
        let mut from: Vec<Option<(ObjectId, Edge)>> = vec![None; cycle.objects.len()];
        let mut queue = vec![start];
        let mut at = 0;
        while let Some(object) = queue.get(at).copied() {
            at += 1;
            for edge in self.edges(object) {
                let Some(slot) = place(edge.to).map(|place| &mut from[place]).filter(|slot| slot.is_none()) else {
                    continue;
                };
                *slot = Some((object, edge));
                if edge.to == start {
                    return (start, trace_back(start, |object| place(object).and_then(|place| from[place])));
                }
                queue.push(edge.to);
            }
        }
        (start, Vec::new())
    }
}

/// The references from `start` back to it, given the one by which each object was reached.
fn trace_back(start: ObjectId, reached: impl Fn(ObjectId) -> Option<(ObjectId, Edge)>) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut at = start;
    while let Some((before, edge)) = reached(at) {
        edges.push(edge);
        at = before;
        if at == start {
            break;
        }
    }
    edges.reverse();
    edges
}

/// Strongly connected components with a cycle, by R. Tarjan, "Depth-first search and linear graph algorithms" (1972), with
/// an explicit stack.
struct Components<'g> {
    graph: &'g Graph,
    /// In the order of finding; [`NONE`] for what has not been met.
    number: Vec<u32>,
    /// The least number that the object is known to reach; [`NONE`] when its component is complete.
    low: Vec<u32>,
    met: u32,
    open: Vec<u32>,
    /// Object, position of its next reference.
    path: Vec<(u32, u32)>,
    groups: Vec<Vec<ObjectId>>,
}

impl<'g> Components<'g> {
    fn new(graph: &'g Graph) -> Self {
        let none = || vec![NONE; graph.len()];
        let (number, low) = (none(), none());
        let mut search = Self { graph, number, low, met: 0, open: Vec::new(), path: Vec::new(), groups: Vec::new() };
        for object in 0..graph.len() as u32 {
            if search.number[object as usize] == NONE {
                search.enter(object);
                search.run();
            }
        }
        search
    }

    fn enter(&mut self, object: u32) {
        self.number[object as usize] = self.met;
        self.low[object as usize] = self.met;
        self.met += 1;
        self.open.push(object);
        self.path.push((object, 0));
    }

    fn run(&mut self) {
        while let Some((object, position)) = self.path.pop() {
            match successor(&self.graph.columns, &self.graph.types, object, position) {
                Some(to) => {
                    self.path.push((object, position + 1));
                    if self.number[to as usize] == NONE {
                        self.enter(to);
                    } else if self.low[to as usize] != NONE {
                        self.lower(object, self.number[to as usize]);
                    }
                }
                None => self.leave(object),
            }
        }
    }

    fn lower(&mut self, object: u32, to: u32) {
        let low = &mut self.low[object as usize];
        *low = (*low).min(to);
    }

    fn leave(&mut self, object: u32) {
        let low = self.low[object as usize];
        if let Some((above, _)) = self.path.last().copied() {
            self.lower(above, low);
        }
        if low == self.number[object as usize] {
            self.close(object);
        }
    }

    /// The component whose first object this is.
    fn close(&mut self, object: u32) {
        let at = self.open.iter().rposition(|open| *open == object).unwrap_or(0);
        let members = self.open.split_off(at);
        members.iter().for_each(|member| self.low[*member as usize] = NONE);
        let refers_to_itself = || self.graph.successors(ObjectId(object)).any(|to| to.0 == object);
        if members.len() > 1 || refers_to_itself() {
            self.groups.push(members.into_iter().map(ObjectId).collect());
        }
    }
}
