//! What a walker gives is what the graph has.
use memlens_heap::{
    BufferKind, BuildError, EdgeKind, EdgeName, FactKind, Graph, HeapBuilder, Meta, NameId, ObjectId, RootKind,
    TypeFlags, TypeId,
};
use proptest::prelude::*;

/// Address, size and references (target's address and shown name) of an object.
type Row = (u64, u64, Vec<(u64, EdgeKind, String)>);

/// The rows of all objects, by address.
fn picture(graph: &Graph) -> Vec<Row> {
    let shown = |name: EdgeName| match name.name() {
        Some(text) => graph.name(text).to_owned(),
        None => name.index_value().to_string(),
    };
    let row = |object: ObjectId| {
        let edges = graph.edges(object);
        let edges = edges.map(|edge| (graph.address(edge.to), edge.name.kind(), shown(edge.name)));
        (graph.address(object), graph.shallow_bytes(object), edges.collect())
    };
    let mut rows: Vec<_> = graph.objects().map(row).collect();
    rows.sort();
    rows
}

fn plain() -> (HeapBuilder, TypeId) {
    let mut builder = HeapBuilder::new(Meta::default());
    let type_ = builder.type_("list", "builtins", TypeFlags::COLLECTED);
    (builder, type_)
}

#[test]
fn everything_given_is_found_again() {
    let (mut builder, list) = plain();
    let class_type = builder.type_("type", "builtins", TypeFlags::COLLECTED | TypeFlags::CLASS);
    let session = builder.type_("Session", "app.cache", TypeFlags::COLLECTED | TypeFlags::FINALIZER);
    let first = builder.object(0x7fff_0000_1000, list, 72);
    let second = builder.object(0x7fff_0000_2000, session, 5_000_000_000);
    let class = builder.object(0x5555_0000_3000, class_type, 1064);
    builder.class_object(session, class);
    let buffer = builder.buffer(0x6000, 8_000_000, BufferKind::Mmap);
    assert_eq!(builder.buffer(0x6000, 8_000_000, BufferKind::Mmap), buffer);
    let price = builder.name("price");
    builder.edge(first, second, EdgeName::index(0));
    builder.edge(second, buffer, EdgeName::attribute(price));
    builder.weak(second, first);
    builder.text(second, "<Session>");
    builder.opaque(second, 10);
    builder.opaque(second, 7);
    builder.fact(first, FactKind::OverAllocated { used: 1, capacity: 9 }, 64);
    let app = builder.name("app");
    builder.root(first, RootKind::Module(app));
    let graph = builder.finish().unwrap();
    let (at, class) = (graph.object_at(0x7fff_0000_2000).unwrap(), graph.object_at(0x5555_0000_3000).unwrap());
    assert_eq!(graph.object_at(0x6001), None);
    assert_eq!(graph.shallow_bytes(at), 5_000_000_000);
    assert_eq!(graph.own_bytes(at), 5_000_000_017);
    assert_eq!(graph.type_name(graph.type_id(at)), "app.cache.Session");
    assert!(graph.is_a(at, TypeFlags::FINALIZER));
    assert_eq!(graph.text(at), Some("<Session>"));
    assert_eq!(graph.class_of(at), Some(class));
    let edges: Vec<_> = graph.edges(at).map(|edge| (edge.to, edge.name.kind())).collect();
    let buffer = graph.object_at(0x6000).unwrap();
    assert_eq!(edges, [(buffer, EdgeKind::Attribute), (class, EdgeKind::Class)]);
    assert_eq!(graph.weak_references().collect::<Vec<_>>(), [(at, ObjectId(0))]);
    assert_eq!(graph.facts()[0].object, ObjectId(0));
    assert_eq!(graph.roots().len(), 1);
    // Depth first: the list, its session, the session's buffer, its class.
    let order: Vec<u64> = graph.objects().map(|object| graph.address(object)).collect();
    assert_eq!(order, [0x7fff_0000_1000, 0x7fff_0000_2000, 0x6000, 0x5555_0000_3000]);
}

#[test]
fn what_no_root_reaches_gets_a_root_of_its_own() {
    let (mut builder, list) = plain();
    let objects: Vec<ObjectId> = (1..=5).map(|at| builder.object(at * 16, list, 56)).collect();
    // 0 and 1 hold each other, 2 holds 0; 3 holds itself; 4 is rooted.
    for (from, to) in [(0, 1), (1, 0), (2, 0), (3, 3)] {
        builder.edge(objects[from], objects[to], EdgeName::index(0));
    }
    builder.root(objects[4], RootKind::HeldByC(1));
    let graph = builder.finish().unwrap();
    let roots: Vec<_> = graph.roots().iter().map(|root| (graph.address(root.object) / 16 - 1, root.kind)).collect();
    use RootKind::{HeldByC, Unreachable};
    assert_eq!(roots, [(4, HeldByC(1)), (2, Unreachable), (3, Unreachable)]);
}

#[test]
fn mistakes_are_returned_at_the_end() {
    let finish = |mistake: &dyn Fn(&mut HeapBuilder, TypeId)| {
        let (mut builder, list) = plain();
        builder.object(16, list, 1);
        mistake(&mut builder, list);
        builder.finish().unwrap_err()
    };
    let unknown = ObjectId(9);
    assert_eq!(finish(&|builder, _| builder.root(unknown, RootKind::HeldByC(1))), BuildError::UnknownObject(9));
    let edge = |builder: &mut HeapBuilder, _| builder.edge(ObjectId(0), unknown, EdgeName::MEMBER);
    assert_eq!(finish(&edge), BuildError::UnknownObject(9));
    let typed = |builder: &mut HeapBuilder, _| {
        builder.object(32, TypeId(7), 1);
    };
    assert_eq!(finish(&typed), BuildError::UnknownType(7));
    let named = |builder: &mut HeapBuilder, _| {
        builder.edge(ObjectId(0), ObjectId(0), EdgeName::attribute(NameId(70)));
    };
    assert_eq!(finish(&named), BuildError::UnknownName(70));
    let far = |builder: &mut HeapBuilder, list| {
        builder.object(1 << 48, list, 1);
    };
    assert_eq!(finish(&far).to_string(), "address 0x1000000000000 has more than 48 bits");
}

proptest! {
    /// References in any order give the graph that references in order give.
    #[test]
    fn late_references_end_behind_the_others(
        edges in prop::collection::vec((0..12_u32, 0..12_u32, 0..4_usize), 0..60)
    ) {
        let build = |edges: &[(u32, u32, usize)]| {
            let (mut builder, list) = plain();
            let objects: Vec<ObjectId> = (0..12).map(|at| builder.object(at * 16, list, at)).collect();
            for (from, to, index) in edges {
                builder.edge(objects[*from as usize], objects[*to as usize], EdgeName::index(*index));
            }
            builder.finish().unwrap()
        };
        let mut sorted = edges.clone();
        sorted.sort_by_key(|(from, ..)| *from);
        prop_assert_eq!(picture(&build(&edges)), picture(&build(&sorted)));
    }
}
