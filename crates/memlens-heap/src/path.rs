//! Why an object lives: the shortest paths from roots to it.
use crate::preorder::NONE;
use crate::{Edge, Graph, ObjectId, Root, RootKind};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Steps and comparisons before the search gives up and gives what it has: a limit for graphs in which nearly every way leads
/// in circles.
const MOST_WORK: usize = 20_000_000;

/// A path from a root, over references, to an object. No object stands in it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// The references that it follows; none if the root is the object.
    pub edges: Vec<Edge>,
}

impl Path {
    /// The object that it leads to.
    pub fn end(&self) -> ObjectId {
        self.edges.last().map_or(self.root.object, |edge| edge.to)
    }

    /// The objects on it, the root's first.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        std::iter::once(self.root.object).chain(self.edges.iter().map(|edge| edge.to))
    }
}

/// What [`Graph::why`] found; the paths are what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Shortest first.
    pub paths: Vec<Path>,
    /// The search gave up: there may be more paths, none of them shorter than these.
    pub is_cut_short: bool,
}

impl std::ops::Deref for Paths {
    type Target = [Path];
    fn deref(&self) -> &[Path] {
        &self.paths
    }
}

/// Roots that say most stand first.
pub(crate) fn rank(kind: RootKind) -> u8 {
    match kind {
        RootKind::Module(_) => 0,
        RootKind::Frame { .. } => 1,
        RootKind::Interpreter(_) => 2,
        RootKind::HeldByC(_) => 3,
        RootKind::Unreachable => 4,
    }
}

/// Roots that have a name, those that only C code knows, and what nothing keeps alive: a path from the first kind says more
/// than any from the next, however short.
pub(crate) const TIERS: [std::ops::RangeInclusive<u8>; 3] = [0..=2, 3..=3, 4..=4];

/// A piece of a path, from some object to the one asked about.
struct Piece {
    object: u32,
    /// The piece that begins with the next object.
    rest: u32,
    /// Least distance to a root of the objects in it: what is nearer cannot be in it.
    least_distance: u32,
}

/// A search backwards from the object. Since the exact distance to a root is known, the piece that leads to the shortest
/// path is always looked at next (A*); of several the longest, so that a path is complete before the next is begun: of
/// twenty layers of ten lists that all refer to the next ten there would be 10^19 pieces before the first path otherwise.
struct Backward<'g> {
    graph: &'g Graph,
    distances: Vec<u32>,
    /// Where paths end; those of an earlier search give none.
    roots: FxHashMap<u32, Option<Root>>,
    pieces: Vec<Piece>,
    /// By the length of the whole path, then the longest piece, then the order of finding.
    waiting: BinaryHeap<Reverse<(u32, Reverse<u32>, u32)>>,
    work: usize,
}

impl Graph {
    /// Up to `count` paths from roots to the object, shortest first: those from modules, frames and the interpreter's state,
    /// then, if they are fewer, those from objects that C code holds. A path ends at the first root on its way. What nothing
    /// keeps alive has paths from what it was found by.
    pub fn why(&self, object: ObjectId, count: usize) -> Paths {
        let mut found = Paths::default();
        let mut ends = FxHashMap::default();
        for tier in TIERS {
            let is_last = tier == TIERS[2];
            if found.len() < count && (!is_last || found.is_empty()) {
                let roots = self.roots().iter().filter(|root| tier.contains(&rank(root.kind)));
                let mut search = Backward::new(self, roots, ends);
                search.run(object, count, &mut found);
                ends = search.roots;
                ends.values_mut().for_each(|root| *root = None);
            }
        }
        found
    }
}

impl<'g> Backward<'g> {
    /// A search for paths from `roots` that keeps clear of `ends`.
    fn new(graph: &'g Graph, roots: impl Iterator<Item = &'g Root>, ends: FxHashMap<u32, Option<Root>>) -> Self {
        let mut ends = ends;
        let mut found = Vec::new();
        for root in roots {
            match ends.entry(root.object.0).or_insert(Some(*root)) {
                Some(known) if rank(root.kind) < rank(known.kind) => *known = *root,
                Some(_) => found.push(root.object),
                None => {}
            }
        }
        let distances = distances(graph, found, &ends);
        Self { graph, distances, roots: ends, pieces: Vec::new(), waiting: BinaryHeap::new(), work: 0 }
    }

    /// Adds paths to the object until there are `count`.
    fn run(&mut self, object: ObjectId, count: usize, found: &mut Paths) {
        self.push(object, NONE, 0);
        while found.len() < count {
            let Some(Reverse((_, Reverse(length), piece))) = self.waiting.pop() else { break };
            if self.work >= MOST_WORK {
                found.is_cut_short = true;
                break;
            }
            match self.roots.get(&self.pieces[piece as usize].object) {
                Some(root) => found.paths.extend(root.map(|root| self.path(root, piece))),
                None => self.extend(piece, length),
            }
        }
    }

    fn push(&mut self, object: ObjectId, rest: u32, length: u32) {
        let distance = self.distances[object.index()];
        if distance == NONE {
            return;
        }
        let piece = self.pieces.len() as u32;
        let least_distance = self.pieces.get(rest as usize).map_or(distance, |rest| rest.least_distance.min(distance));
        self.pieces.push(Piece { object: object.0, rest, least_distance });
        self.waiting.push(Reverse((length + distance, Reverse(length), piece)));
    }

    /// Puts each referrer before the piece, but for those that are in it.
    fn extend(&mut self, piece: u32, length: u32) {
        let object = ObjectId(self.pieces[piece as usize].object);
        let mut before = None;
        for from in self.graph.referrers().of(object) {
            // Referrers come by number: one that refers twice gives one path.
            let is_repeated = before.replace(from) == Some(from);
            if !is_repeated && !self.holds(piece, length, from) {
                self.push(from, piece, length + 1);
            }
        }
    }

    fn holds(&mut self, piece: u32, length: u32, object: ObjectId) -> bool {
        self.work += 1;
        if self.distances[object.index()] < self.pieces[piece as usize].least_distance {
            return false;
        }
        let found = self.objects(piece).position(|known| known == object);
        self.work += found.unwrap_or(length as usize);
        found.is_some()
    }

    fn objects(&self, piece: u32) -> impl Iterator<Item = ObjectId> {
        let first = self.pieces.get(piece as usize);
        let pieces = std::iter::successors(first, |piece| self.pieces.get(piece.rest as usize));
        pieces.map(|piece| ObjectId(piece.object))
    }

    fn path(&self, root: Root, piece: u32) -> Path {
        let objects: Vec<ObjectId> = self.objects(piece).collect();
        let edges = objects.windows(2).filter_map(|pair| self.graph.edge_between(pair[0], pair[1]));
        Path { root, edges: edges.collect() }
    }
}

/// How many references each object is away from the nearest of `roots`, on ways that keep clear of other ends.
fn distances(graph: &Graph, roots: Vec<ObjectId>, ends: &FxHashMap<u32, Option<Root>>) -> Vec<u32> {
    let mut distances = vec![NONE; graph.len()];
    roots.iter().for_each(|root| distances[root.index()] = 0);
    let mut queue = VecDeque::from(roots);
    while let Some(object) = queue.pop_front() {
        for to in graph.successors(object) {
            if distances[to.index()] == NONE && !ends.contains_key(&to.0) {
                distances[to.index()] = distances[object.index()] + 1;
                queue.push_back(to);
            }
        }
    }
    distances
}
