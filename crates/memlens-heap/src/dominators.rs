//! Who keeps whom alive alone: immediate dominators, and from them retained sizes.
//!
//! An object's immediate dominator is the nearest object that every path from the roots passes; when it goes, the object
//! goes. The method is Semi-NCA (L. Georgiadis, "Linear-Time Algorithms for Dominators and Related Problems", Princeton 2005,
//! section 2.3; LLVM uses it too): semidominators by path compression over the depth-first tree, then one walk up for each
//! object. It was taken over Lengauer-Tarjan with buckets for its two arrays less, and needs no array from object to number
//! and back, since the graph is numbered in depth-first order already.
//!
//! Memory while it runs: 16 bytes an object and 4 for each reference that is not of the depth-first tree; afterwards 8 an
//! object.
use crate::column::SizeColumn;
use crate::preorder::{NONE, Search};
use crate::{Graph, ObjectId};

/// Immediate dominators and retained sizes of all objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Dominators {
    /// [`NONE`] for what only the roots dominate.
    immediate: Vec<u32>,
    retained: SizeColumn,
}

impl Dominators {
    /// Computes them: near linear in objects and references.
    pub(crate) fn new(graph: &Graph) -> Self {
        let immediate = immediate_dominators(graph);
        let mut retained: Vec<u64> = graph.objects().map(|object| graph.own_bytes(object)).collect();
        for object in (0..graph.len()).rev() {
            let bytes = retained[object];
            if let Some(above) = retained.get_mut(immediate[object] as usize) {
                *above = above.saturating_add(bytes);
            }
        }
        Self { immediate, retained: retained.into_iter().collect() }
    }

    /// The object whose end would be the object's end; `None` if roots alone keep it, or several objects at once.
    #[inline]
    pub fn immediate(&self, object: ObjectId) -> Option<ObjectId> {
        Some(self.immediate[object.index()]).filter(|above| *above != NONE).map(ObjectId)
    }

    /// Bytes that go when the object goes, its own among them.
    #[inline]
    pub fn retained_bytes(&self, object: ObjectId) -> u64 {
        self.retained.get(object.index())
    }

    /// The object's dominators, nearest first.
    pub fn above(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> {
        std::iter::successors(self.immediate(object), |above| self.immediate(*above))
    }

    pub(crate) fn parents(&self) -> &[u32] {
        &self.immediate
    }
}

/// Number 0 is the root of all roots, object *v* is number *v* + 1: so that no number is negative.
fn immediate_dominators(graph: &Graph) -> Vec<u32> {
    let mut parent = tree_parents(graph);
    let predecessors = Predecessors::new(graph, &parent);
    let semi = semidominators(&parent, predecessors);
    for number in 1..parent.len() {
        let mut above = parent[number];
        while above > semi[number] {
            above = parent[above as usize];
        }
        parent[number] = above;
    }
    drop(semi);
    parent.remove(0);
    // 0, the root of all roots, becomes NONE.
    parent.iter_mut().for_each(|above| *above = above.wrapping_sub(1));
    parent
}

/// The number from which each number was first reached.
fn tree_parents(graph: &Graph) -> Vec<u32> {
    let mut parents = Vec::with_capacity(graph.len() + 1);
    parents.push(0);
    let mut search = Search::new(&graph.columns, &graph.types);
    for root in &graph.roots {
        search.run(root.object.0, |object, parent| {
            // The graph is numbered in the order of this very search.
            let is_new = object as usize + 1 == parents.len();
            if is_new {
                parents.push(parent.wrapping_add(1));
            }
            is_new
        });
    }
    parents
}

/// For each number those that refer to it, but for its parent in the tree, which is known already.
struct Predecessors {
    /// Where each number's begin, with one more for the end.
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Predecessors {
    fn new(graph: &Graph, parent: &[u32]) -> Self {
        let mut starts = vec![0_u32; parent.len() + 1];
        for_each_cross_edge(graph, parent, |_, to| starts[to as usize] += 1);
        let mut sum = 0;
        for count in &mut starts {
            sum += *count;
            *count = sum;
        }
        let mut list = vec![0; sum as usize];
        for_each_cross_edge(graph, parent, |from, to| {
            let start = &mut starts[to as usize];
            *start -= 1;
            list[*start as usize] = from;
        });
        Self { starts, list }
    }
}

/// References that are not of the tree: from, to. Those to itself say nothing; roots have one from number 0.
fn for_each_cross_edge(graph: &Graph, parent: &[u32], mut take: impl FnMut(u32, u32)) {
    for from in 0..graph.len() as u32 {
        let number = from + 1;
        for to in graph.successors(ObjectId(from)) {
            let to = to.0 + 1;
            if parent[to as usize] != number && to != number {
                take(number, to);
            }
        }
    }
    for root in graph.roots.iter().filter(|root| parent[root.object.index() + 1] != 0) {
        take(0, root.object.0 + 1);
    }
}

/// A number in the forest of those whose semidominator is known.
#[derive(Clone, Copy)]
struct Link {
    /// Its parent, or after compression an ancestor.
    ancestor: u32,
    /// The least semidominator on the path up to, and without, the ancestor.
    least: u32,
}

/// The semidominators. They take the place of the predecessors' starts, each of which is not needed any more once its
/// number has been looked at.
fn semidominators(parent: &[u32], predecessors: Predecessors) -> Vec<u32> {
    let Predecessors { starts: mut semi, list } = predecessors;
    let mut links: Vec<Link> = (0..).zip(parent).map(|(least, ancestor)| Link { ancestor: *ancestor, least }).collect();
    let mut path = Vec::new();
    let mut end = list.len();
    for number in (1..parent.len()).rev() {
        let start = semi[number] as usize;
        let mut least = parent[number];
        for from in &list[start..end] {
            least = least.min(evaluate(&mut links, *from, number as u32, &mut path));
        }
        end = start;
        semi[number] = least;
        links[number].least = least;
    }
    semi
}

/// The least semidominator of `number` and its ancestors above `linked`; numbers up to `linked` are not yet in the forest.
#[inline]
fn evaluate(links: &mut [Link], number: u32, linked: u32, path: &mut Vec<u32>) -> u32 {
    let link = links[number as usize];
    if link.ancestor <= linked { link.least } else { compress(links, number, linked, path) }
}

/// Points everything on the way up to the topmost ancestor, so that the next walk is short.
fn compress(links: &mut [Link], number: u32, linked: u32, path: &mut Vec<u32>) -> u32 {
    let mut at = number;
    while links[at as usize].ancestor > linked {
        path.push(at);
        at = links[at as usize].ancestor;
    }
    let mut above = links[at as usize];
    while let Some(below) = path.pop() {
        let link = &mut links[below as usize];
        link.ancestor = above.ancestor;
        link.least = link.least.min(above.least);
        above = *link;
    }
    above.least
}
