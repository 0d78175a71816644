//! The sizes of an object and of what it is made of, level by level.
use crate::graph_walk::GraphWalk;
use crate::interpreter::Interpreter;
use crate::object::Object;
use crate::rule::{Included, Rules};
use crate::type_facts::TypeTable;
use memlens_heap::{BuildError, Edge, EdgeKind, FactKind, Graph, Meta, ObjectId, RootKind};
use pyo3::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;

/// Parts of an object that are listed one by one.
const MOST_CHILDREN: usize = 12;
/// Parts smaller than this share of the whole are not taken apart.
const SMALLEST_SHARE: f64 = 0.002;

/// A node of the tree. Sizes in bytes.
#[derive(Default)]
pub struct Node {
    /// What follows the parent's name: `.cache`, `['u1']`; in `<>` what has no name.
    pub label: String,
    pub type_name: String,
    pub shallow: u64,
    pub deep: u64,
    pub retained: u64,
    pub pinned: u64,
    /// Part of `deep` that no reference explains.
    pub opaque: u64,
    /// Pages of mapped files: not part of the others.
    pub file: u64,
    /// Objects that make up `deep`.
    pub count: u64,
    pub children: Vec<Node>,
}

/// Objects under one name.
struct Part {
    label: String,
    objects: Vec<ObjectId>,
}

/// The sizes of `root`, down to `depth` levels.
pub fn build(
    python: Python<'_>,
    interpreter: &Interpreter,
    root: Object,
    included: Included,
    depth: usize,
) -> Result<Node, BuildError> {
    let rules = Rules::new(&mut TypeTable::new(interpreter), included);
    let mut walk = GraphWalk::new(interpreter, Some(rules), Meta::default());
    let id = walk.add(root);
    walk.add_namespace(root);
    let name = walk.builder().name("the object");
    walk.builder().root(id, RootKind::Interpreter(name));
    walk.run();
    for (object, count) in walk.held_outside().into_iter().filter(|(object, _)| *object != id) {
        walk.builder().root(object, RootKind::HeldByC(count));
    }
    let files = walk.add_buffers(python);
    let graph = walk.into_builder().finish()?;
    let mut tree = Tree::new(&graph, &files);
    let Some(id) = graph.object_at(root.address() as u64) else {
        return Ok(Node::default());
    };
    let whole = Part { label: String::new(), objects: vec![id] };
    let mut node = tree.node(&whole);
    tree.smallest = (node.deep as f64 * SMALLEST_SHARE) as u64;
    tree.add_children(&mut node, id, depth);
    Ok(node)
}

struct Tree<'g> {
    graph: &'g Graph,
    /// Bytes of mapped files by buffer.
    files: FxHashMap<ObjectId, u64>,
    /// Bytes of each buffer that nobody shows.
    unused: FxHashMap<ObjectId, u64>,
    /// The round in which an object was last met.
    met: Vec<u32>,
    round: u32,
    /// Objects that stand above the one that is sized: its size does not lead over them.
    above: Vec<ObjectId>,
    smallest: u64,
    /// Visits that may still be made.
    budget: u64,
}

/// Takes out what holds the columns of a pandas frame, where these are listed by name.
fn take_manager(parts: &mut Vec<Part>) -> Option<Part> {
    let has_columns = parts.iter().any(|part| part.label.starts_with('['));
    let at = parts.iter().position(|part| part.label == "._mgr").filter(|_| has_columns)?;
    Some(parts.swap_remove(at))
}

/// What is reached from some objects.
#[derive(Default)]
struct Reached {
    deep: u64,
    opaque: u64,
    file: u64,
    pinned: u64,
    count: u64,
}

impl<'g> Tree<'g> {
    fn new(graph: &'g Graph, files: &[(u64, u64)]) -> Self {
        let unused = graph.facts().iter().filter(|fact| matches!(fact.kind, FactKind::UsesPartOf { .. }));
        Self {
            graph,
            files: files.iter().filter_map(|(at, bytes)| Some((graph.object_at(*at)?, *bytes))).collect(),
            unused: unused.map(|fact| (fact.object, fact.saved_bytes)).collect(),
            met: vec![0; graph.len()],
            round: 0,
            above: Vec::new(),
            smallest: 0,
            budget: 30 * graph.len() as u64 + 1_000_000,
        }
    }

    fn next_round(&mut self) {
        self.round += 1;
        for object in &self.above {
            self.met[object.index()] = self.round;
        }
    }

    fn meet(&mut self, object: ObjectId) -> bool {
        let round = std::mem::replace(&mut self.met[object.index()], self.round);
        round != self.round
    }

    /// Everything that is reached from the objects and was not met in this round.
    fn reach(&mut self, objects: &[ObjectId]) -> Reached {
        let mut reached = Reached::default();
        let mut left: Vec<ObjectId> = objects.iter().copied().filter(|object| self.meet(*object)).collect();
        while let Some(object) = left.pop() {
            self.count(object, &mut reached);
            for to in self.graph.successors(object) {
                if self.meet(to) {
                    left.push(to);
                }
            }
        }
        self.budget = self.budget.saturating_sub(reached.count);
        reached
    }

    fn count(&self, object: ObjectId, reached: &mut Reached) {
        reached.count += 1;
        match self.files.get(&object) {
            Some(bytes) => reached.file += bytes,
            None => reached.deep += self.graph.own_bytes(object),
        }
        reached.opaque += self.graph.opaque_bytes(object);
        reached.pinned += self.unused.get(&object).copied().unwrap_or(0);
    }

    fn node(&mut self, part: &Part) -> Node {
        self.next_round();
        let reached = self.reach(&part.objects);
        let graph = self.graph;
        let sum = |of: &dyn Fn(ObjectId) -> u64| part.objects.iter().map(|object| of(*object)).sum();
        let file_bytes = |object: ObjectId| self.files.get(&object).copied();
        Node {
            label: part.label.clone(),
            type_name: self.type_names(&part.objects),
            shallow: sum(&|object| file_bytes(object).map_or_else(|| graph.own_bytes(object), |_| 0)),
            deep: reached.deep,
            retained: self.retained(&part.objects),
            pinned: reached.pinned,
            opaque: reached.opaque,
            file: reached.file,
            count: reached.count,
            children: Vec::new(),
        }
    }

    /// What would go with them as far as single ones keep it: what one of them dominates goes with that one.
    fn retained(&self, objects: &[ObjectId]) -> u64 {
        let dominators = self.graph.dominators();
        let Some((least, others)) = objects.split_first().filter(|(_, others)| !others.is_empty()) else {
            return objects.iter().map(|object| dominators.retained_bytes(*object)).sum();
        };
        // They are sorted, and a dominator has a smaller number.
        let known: FxHashSet<ObjectId> = others.iter().chain([least]).copied().collect();
        let is_dominated = |object: ObjectId| {
            dominators.above(object).take_while(|above| above >= least).any(|above| known.contains(&above))
        };
        let tops = objects.iter().filter(|object| !is_dominated(**object));
        tops.map(|object| dominators.retained_bytes(*object)).sum()
    }

    /// The type that all have, or nothing.
    fn type_names(&self, objects: &[ObjectId]) -> String {
        let type_of = |object: &ObjectId| self.graph.type_id(*object);
        match objects.split_first() {
            Some((first, rest)) if rest.iter().all(|object| type_of(object) == type_of(first)) => {
                self.graph.type_name(type_of(first))
            }
            _ => String::new(),
        }
    }

    fn add_children(&mut self, node: &mut Node, object: ObjectId, depth: usize) {
        if depth == 0 || self.budget == 0 {
            return;
        }
        self.above.push(object);
        let mut parts = self.parts(object);
        parts.retain(|part| part.objects.iter().any(|part| !self.above.contains(part)));
        let manager = take_manager(&mut parts);
        let (shown, rest) = self.chosen(parts);
        for part in &shown {
            let mut child = self.node(part);
            if let ([only], true) = (part.objects.as_slice(), child.deep >= self.smallest) {
                self.add_children(&mut child, *only, depth - 1);
            }
            node.children.push(child);
        }
        node.children.sort_by_key(|child| Reverse(child.deep));
        if !rest.is_empty() {
            let label = format!("<{} more>", rest.len());
            let mut objects: Vec<ObjectId> = rest.into_iter().flat_map(|part| part.objects).collect();
            objects.sort_unstable();
            objects.dedup();
            node.children.push(self.node(&Part { label, objects }));
        }
        if let Some(manager) = manager {
            // What the columns have not: the index, and the blocks themselves.
            let level = self.above.len();
            self.above.extend(shown.iter().flat_map(|part| part.objects.iter().copied()));
            node.children.push(self.node(&manager));
            self.above.truncate(level);
        }
        self.above.pop();
    }

    /// The parts to list: those that reach or retain most.
    fn chosen(&mut self, mut parts: Vec<Part>) -> (Vec<Part>, Vec<Part>) {
        if parts.len() <= MOST_CHILDREN {
            return (parts, Vec::new());
        }
        self.next_round();
        let mut weights = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let retained: u64 = part.objects.iter().map(|object| self.graph.dominators().retained_bytes(*object)).sum();
            weights.push((Reverse(self.reach(&part.objects).deep.max(retained)), index));
        }
        weights.sort_unstable();
        let largest = weights[..MOST_CHILDREN].iter().filter(|(weight, _)| weight.0 >= self.smallest);
        let kept: Vec<usize> = largest.map(|(_, index)| *index).collect();
        let mut is_kept = vec![false; parts.len()];
        kept.iter().for_each(|index| is_kept[*index] = true);
        let mut is_kept = is_kept.into_iter();
        let rest = parts.extract_if(.., |_| !is_kept.next().unwrap_or(false)).collect();
        (parts, rest)
    }

    /// What an object is made of, by name. An instance's dict is seen through: its entries are attributes.
    fn parts(&self, object: ObjectId) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut by_label: FxHashMap<String, usize> = FxHashMap::default();
        let mut add = |label: String, to: ObjectId| match by_label.get(&label) {
            Some(at) => parts[*at].objects.push(to),
            None => {
                by_label.insert(label.clone(), parts.len());
                parts.push(Part { label, objects: vec![to] });
            }
        };
        for edge in self.graph.edges(object).filter(|edge| edge.name.kind() != EdgeKind::Class) {
            if self.is_dict(edge) {
                self.graph.edges(edge.to).for_each(|entry| add(self.entry_label(entry), entry.to));
            } else {
                add(self.label(edge), edge.to);
            }
        }
        for part in &mut parts {
            part.objects.sort_unstable();
            part.objects.dedup();
        }
        parts
    }

    fn is_dict(&self, edge: Edge) -> bool {
        edge.name.kind() == EdgeKind::Attribute
            && edge.name.name().is_some_and(|name| self.graph.name(name) == "__dict__")
    }

    fn label(&self, edge: Edge) -> String {
        match edge.name.kind() {
            EdgeKind::KeyObject => "<keys>".into(),
            EdgeKind::Member => "<members>".into(),
            EdgeKind::Hidden => "<held by C>".into(),
            _ => self.graph.steps_text(&[edge]),
        }
    }

    /// An entry of an instance's dict, as the attribute that it is.
    fn entry_label(&self, entry: Edge) -> String {
        let label = self.label(entry);
        let name = label.strip_prefix("['").and_then(|label| label.strip_suffix("']"));
        name.filter(|name| !name.contains('\'')).map_or_else(|| label.clone(), |name| format!(".{name}"))
    }
}
