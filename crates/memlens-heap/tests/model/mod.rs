//! Graphs as plain lists, with answers that are slow and simple.
#![allow(dead_code, reason = "each test file uses a part")]
use memlens_heap::{EdgeName, FactKind, Graph, HeapBuilder, Meta, ObjectId, RootKind, TypeFlags, TypeId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Object *i* has the address 16 (*i* + 1).
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Bytes of each object.
    pub sizes: Vec<u64>,
    /// Type of each object, below 4. Objects of type 3 are not seen by the collector.
    pub types: Vec<usize>,
    /// Class object of types 0 and 1, if any.
    pub classes: [Option<usize>; 2],
    /// From, to.
    pub edges: Vec<(usize, usize)>,
    /// Held from outside.
    pub roots: Vec<usize>,
}

pub const TYPE_NAMES: [&str; 4] = ["zero", "one", "two", "three"];

impl Model {
    /// One byte each; object 0 is the root.
    pub fn of_edges(objects: usize, edges: &[(usize, usize)]) -> Self {
        Self {
            sizes: vec![1; objects],
            types: vec![2; objects],
            classes: [None; 2],
            edges: edges.to_vec(),
            roots: vec![0],
        }
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The builder that has everything of the model, and the numbers of its objects.
    pub fn builder(&self) -> (HeapBuilder, Vec<ObjectId>) {
        let mut builder = HeapBuilder::new(Meta::default());
        let flags = |type_: usize| if type_ == 3 { TypeFlags::default() } else { TypeFlags::COLLECTED };
        let names = TYPE_NAMES.iter().enumerate();
        let types: Vec<TypeId> = names.map(|(at, name)| builder.type_(name, "model", flags(at))).collect();
        let row = |at: usize| (16 * (at as u64 + 1), types[self.types[at]], self.sizes[at]);
        let rows = (0..self.len()).map(row);
        let objects: Vec<ObjectId> = rows.map(|(at, type_, size)| builder.object(at, type_, size)).collect();
        for (type_, class) in types.iter().zip(self.classes) {
            if let Some(class) = class {
                builder.class_object(*type_, objects[class]);
            }
        }
        for (index, (from, to)) in self.edges.iter().enumerate() {
            builder.edge(objects[*from], objects[*to], EdgeName::index(index));
        }
        let name = builder.name("app");
        for (index, root) in self.roots.iter().enumerate() {
            let kind = if index % 2 == 0 { RootKind::Module(name) } else { RootKind::HeldByC(1) };
            builder.root(objects[*root], kind);
        }
        (builder, objects)
    }

    pub fn graph(&self) -> Graph {
        self.builder().0.finish().expect("a graph")
    }

    /// What each object refers to, its class among it.
    pub fn successors(&self) -> Vec<BTreeSet<usize>> {
        let mut successors = vec![BTreeSet::new(); self.len()];
        for (from, to) in &self.edges {
            successors[*from].insert(*to);
        }
        for (object, type_) in self.types.iter().enumerate() {
            successors[object].extend(self.classes.get(*type_).copied().flatten());
        }
        successors
    }

    /// What can be reached from `roots` without any of `without`.
    pub fn reachable(&self, roots: &[usize], without: &[usize]) -> BTreeSet<usize> {
        let successors = self.successors();
        let mut found = BTreeSet::new();
        let mut left = roots.to_vec();
        while let Some(object) = left.pop() {
            if !without.contains(&object) && found.insert(object) {
                left.extend(&successors[object]);
            }
        }
        found
    }

    pub fn bytes(&self, objects: impl IntoIterator<Item = usize>) -> u64 {
        objects.into_iter().map(|object| self.sizes[object]).sum()
    }
}

/// The model's number of an object.
pub fn at(graph: &Graph, object: ObjectId) -> usize {
    (graph.address(object) / 16 - 1) as usize
}

/// The object of a model's number.
pub fn object(graph: &Graph, at: usize) -> ObjectId {
    graph.object_at(16 * (at as u64 + 1)).expect("an object")
}

/// The model's numbers of all roots, those of unreachable objects included.
pub fn roots_of(graph: &Graph) -> Vec<usize> {
    graph.roots().iter().map(|root| at(graph, root.object)).collect()
}

/// Graphs of up to `most` objects, from sparse to dense.
pub fn models(most: usize) -> impl Strategy<Value = Model> {
    (1..=most).prop_flat_map(move |objects| {
        let class = prop::option::weighted(0.3, 0..objects);
        let object = 0..objects;
        (
            prop::collection::vec(1..1000_u64, objects),
            prop::collection::vec(0..4_usize, objects),
            [class.clone(), class],
            prop::collection::vec((object.clone(), object.clone()), 0..3 * objects),
            prop::collection::vec(object, 0..3),
        )
            .prop_map(|(sizes, types, classes, edges, roots)| Model { sizes, types, classes, edges, roots })
    })
}

/// Everything of a graph that its questions can see, by address.
pub fn picture(graph: &Graph) -> BTreeMap<u64, String> {
    let row = |object: ObjectId| {
        let edges: Vec<String> =
            graph.edges(object).map(|edge| format!("{:?} {:x}", edge.name, graph.address(edge.to))).collect();
        let (type_, size) = (graph.type_name(graph.type_id(object)), graph.shallow_bytes(object));
        let more = (graph.opaque_bytes(object), graph.text(object), graph.frame(object));
        (graph.address(object), format!("{type_} {size} {edges:?} {more:?}"))
    };
    graph.objects().map(row).collect()
}

/// A graph with something of everything.
pub fn rich() -> Graph {
    let model = Model {
        sizes: vec![100, 200, 5_000_000_000, 40, 50, 60, 70, 70],
        types: vec![0, 1, 2, 3, 2, 2, 2, 2],
        classes: [Some(3), None],
        edges: vec![(0, 1), (1, 2), (2, 1), (4, 5), (5, 4), (0, 6), (0, 7)],
        roots: vec![0],
    };
    let (mut builder, objects) = model.builder();
    let [first, second] = ["données", "'u1'"].map(|name| builder.name(name));
    builder.edge(objects[1], objects[3], EdgeName::attribute(first));
    builder.edge(objects[3], objects[1], EdgeName::key(second));
    builder.root(objects[1], RootKind::Module(first));
    builder.root(objects[2], RootKind::Frame { thread: second });
    let frame = memlens_heap::Frame { function: first, file: second, line: 12 };
    builder.frame(objects[2], frame);
    builder.text(objects[3], "<a 'text'>");
    builder.opaque(objects[3], 17);
    builder.weak(objects[0], objects[3]);
    builder.content(objects[6], u64::MAX);
    builder.content(objects[7], u64::MAX);
    builder.fact(objects[0], FactKind::OverAllocated { used: 1, capacity: 10 }, 72);
    builder.fact(objects[1], FactKind::FitsSmaller { element: first }, 700);
    builder.fact(objects[2], FactKind::UsesPartOf { used: 80 }, 4_999_999_920);
    builder.fact(objects[4], FactKind::WeakrefCallback, 0);
    let graph = builder.finish().expect("a graph");
    assert_eq!(graph.len(), 8);
    graph
}
