//! Why an object lives: the shortest paths from roots to it.
use crate::preorder::NONE;
use crate::{Edge, Graph, ObjectId, Root, RootKind};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Partial paths that are looked at before the search gives up: a limit for graphs in which nearly every way leads in circles.
const MOST_STEPS: usize = 1_000_000;

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

/// Roots that say most stand first.
fn rank(kind: RootKind) -> u8 {
    match kind {
        RootKind::Module(_) => 0,
        RootKind::Frame { .. } => 1,
        RootKind::Interpreter(_) => 2,
        RootKind::HeldByC(_) => 3,
        RootKind::Unreachable => 4,
    }
}

/// A piece of a path, from some object to the one asked about.
struct Piece {
    object: u32,
    /// The piece that begins with the next object.
    rest: u32,
}

/// A search backwards from the object. Since the exact distance to a root is known, the piece that leads to the shortest
/// path is always looked at next (A*).
struct Backward<'g> {
    graph: &'g Graph,
    distances: Vec<u32>,
    roots: FxHashMap<u32, Root>,
    pieces: Vec<Piece>,
    /// Length of the whole path, order of finding, piece, length of the piece.
    waiting: BinaryHeap<Reverse<(u32, usize, u32, u32)>>,
}

impl Graph {
    /// The `count` shortest paths from roots to the object, shortest first. A path ends at the first root on its way.
    pub fn why(&self, object: ObjectId, count: usize) -> Vec<Path> {
        let mut search = Backward::new(self, object);
        let mut paths = Vec::new();
        search.push(object, NONE, 0);
        for _ in 0..MOST_STEPS {
            let Some(Reverse((_, _, piece, length))) = search.waiting.pop() else { break };
            let first = search.pieces[piece as usize].object;
            if let Some(root) = search.roots.get(&first) {
                paths.push(search.path(*root, piece));
                if paths.len() >= count {
                    break;
                }
                continue;
            }
            search.extend(piece, length);
        }
        paths.truncate(count);
        paths
    }
}

impl<'g> Backward<'g> {
    fn new(graph: &'g Graph, object: ObjectId) -> Self {
        let (distances, roots) = distances(graph, object);
        Self { graph, distances, roots, pieces: Vec::new(), waiting: BinaryHeap::new() }
    }

    fn push(&mut self, object: ObjectId, rest: u32, length: u32) {
        let distance = self.distances[object.index()];
        if distance == NONE {
            return;
        }
        let piece = self.pieces.len() as u32;
        self.pieces.push(Piece { object: object.0, rest });
        self.waiting.push(Reverse((length + distance, self.pieces.len(), piece, length)));
    }

    /// Puts each referrer before the piece, but for those that are in it.
    fn extend(&mut self, piece: u32, length: u32) {
        let object = ObjectId(self.pieces[piece as usize].object);
        let mut before = None;
        for from in self.graph.referrers().of(object) {
            // Referrers come by number: one that refers twice gives one path.
            let is_repeated = before.replace(from) == Some(from);
            if !is_repeated && self.objects(piece).all(|known| known != from) {
                self.push(from, piece, length + 1);
            }
        }
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

/// How many references each object is away from the nearest root, and the best root of each object that is one. What
/// nothing keeps alive counts only where the object asked about is such a one.
fn distances(graph: &Graph, object: ObjectId) -> (Vec<u32>, FxHashMap<u32, Root>) {
    let mut distances = vec![NONE; graph.len()];
    let mut roots = FxHashMap::default();
    let is_live = |root: &&Root| root.kind != RootKind::Unreachable;
    measure(graph, graph.roots().iter().filter(is_live), &mut distances, &mut roots);
    if distances[object.index()] == NONE {
        measure(graph, graph.roots().iter().filter(|root| !is_live(root)), &mut distances, &mut roots);
    }
    (distances, roots)
}

fn measure<'g>(
    graph: &Graph,
    from: impl Iterator<Item = &'g Root>,
    distances: &mut [u32],
    roots: &mut FxHashMap<u32, Root>,
) {
    let mut queue = Vec::new();
    for root in from {
        let known = roots.entry(root.object.0).or_insert(*root);
        if rank(root.kind) < rank(known.kind) {
            *known = *root;
        }
        if distances[root.object.index()] == NONE {
            distances[root.object.index()] = 0;
            queue.push(root.object);
        }
    }
    let mut at = 0;
    while let Some(object) = queue.get(at).copied() {
        at += 1;
        for to in graph.successors(object) {
            if distances[to.index()] == NONE {
                distances[to.index()] = distances[object.index()] + 1;
                queue.push(to);
            }
        }
    }
}
