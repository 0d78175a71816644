//! One shortest path to every object at once, for tables that name many.
use crate::path::{Path, TIERS, rank};
use crate::preorder::NONE;
use crate::{Graph, ObjectId, Root};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// For each object the one before it on a shortest path from a root.
#[derive(Debug)]
pub struct ShortestPaths<'g> {
    graph: &'g Graph,
    /// Itself for a root.
    before: Vec<u32>,
    /// Position of the reference among those of the one before.
    positions: Vec<u32>,
    roots: FxHashMap<u32, Root>,
}

impl<'g> ShortestPaths<'g> {
    /// Breadth first from the roots that have a name, then from those that C code holds; 12 bytes an object while it runs. What nothing keeps alive has paths from what it
    /// was found by.
    pub fn new(graph: &'g Graph) -> Self {
        let mut paths = Self {
            graph,
            before: vec![NONE; graph.len()],
            positions: vec![0; graph.len()],
            roots: FxHashMap::default(),
        };
        let mut roots: Vec<Root> = graph.roots().to_vec();
        roots.sort_by_key(|root| rank(root.kind));
        for tier in TIERS {
            let of_tier: Vec<Root> = roots.iter().filter(|root| tier.contains(&rank(root.kind))).copied().collect();
            paths.spread(&of_tier);
        }
        paths
    }

    fn spread(&mut self, roots: &[Root]) {
        let mut queue = VecDeque::new();
        for root in roots {
            if self.before[root.object.index()] == NONE {
                self.before[root.object.index()] = root.object.0;
                self.roots.insert(root.object.0, *root);
                queue.push_back(root.object);
            }
        }
        while let Some(object) = queue.pop_front() {
            for (position, to) in (0..).zip(self.graph.successors(object)) {
                if self.before[to.index()] == NONE {
                    self.before[to.index()] = object.0;
                    self.positions[to.index()] = position;
                    queue.push_back(to);
                }
            }
        }
    }

    /// A shortest path to the object.
    pub fn path(&self, object: ObjectId) -> Path {
        let mut edges = Vec::new();
        let mut at = object;
        loop {
            if let Some(root) = self.roots.get(&at.0) {
                edges.reverse();
                return Path { root: *root, edges };
            }
            let before = ObjectId(self.before[at.index()]);
            edges.extend(self.graph.edge_at(before, self.positions[at.index()] as usize));
            at = before;
        }
    }

    /// The same as text.
    pub fn text(&self, object: ObjectId) -> String {
        self.graph.path_text(&self.path(object))
    }
}
