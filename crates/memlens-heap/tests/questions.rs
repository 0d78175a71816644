//! Small graphs made by hand, with the answers that a person gives: lines, diamonds, crosses, side references, forests, and
//! the names of references. What guppy3 and PyHeap publish is in published.rs.
mod model;

use memlens_heap::{
    BufferKind, EdgeName, FactKind, Frame, Graph, HeapBuilder, Holder, Meta, ObjectId, RootKind, TypeFlags, TypeId,
};
use model::{Model, at, object};

/// Retained bytes of the objects 0, 1, 2, … of a graph whose objects have one byte each.
fn retained(model: &Model) -> Vec<u64> {
    let graph = model.graph();
    (0..model.len()).map(|number| graph.dominators().retained_bytes(object(&graph, number))).collect()
}

#[test]
fn retained_sizes_of_small_shapes() {
    let one_root = |objects: usize, edges: &[(usize, usize)]| retained(&Model::of_edges(objects, edges));
    assert_eq!(one_root(1, &[]), [1], "alone");
    assert_eq!(one_root(1, &[(0, 0)]), [1], "to itself");
    assert_eq!(one_root(4, &[(0, 1), (1, 2), (2, 3)]), [4, 3, 2, 1], "line");
    assert_eq!(one_root(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]), [4, 1, 1, 1], "diamond");
    assert_eq!(one_root(5, &[(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]), [5, 1, 1, 2, 1], "diamond with a tail");
    assert_eq!(one_root(5, &[(0, 1), (0, 2), (1, 3), (2, 4), (3, 4), (4, 3)]), [5, 1, 1, 1, 1], "cross");
    assert_eq!(one_root(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]), [4, 2, 1, 1], "side reference");
    assert_eq!(one_root(4, &[(0, 1), (1, 2), (2, 1), (2, 3)]), [4, 3, 2, 1], "a cycle on the way");
    assert_eq!(one_root(5, &[(0, 1), (0, 2), (1, 2), (2, 1), (2, 3), (3, 4), (4, 2)]), [5, 1, 3, 2, 1], "two ways in");
    let forest = Model { roots: vec![0, 3], ..Model::of_edges(6, &[(0, 1), (1, 2), (3, 4), (4, 5)]) };
    assert_eq!(retained(&forest), [3, 2, 1, 3, 2, 1]);
    let bridge = Model { roots: vec![0, 3], ..Model::of_edges(6, &[(0, 1), (1, 2), (3, 4), (4, 2), (2, 5)]) };
    assert_eq!(retained(&bridge), [2, 1, 2, 2, 1, 1], "a bridge between two trees");
    let inner_root = Model { roots: vec![0, 2], ..Model::of_edges(4, &[(0, 1), (1, 2), (2, 3)]) };
    assert_eq!(retained(&inner_root), [2, 1, 2, 1], "a root within a tree");
    let garbage = Model::of_edges(5, &[(0, 1), (2, 3), (3, 2), (3, 4)]);
    assert_eq!(retained(&garbage), [2, 1, 3, 2, 1], "a cycle that nothing holds");
}

/// The bug of tools that recurse: a linked list ends them at its thousandth node.
#[test]
fn a_long_list_of_links() {
    let length = 200_000;
    let mut edges: Vec<(usize, usize)> = (1..length).map(|to| (to - 1, to)).collect();
    edges.push((length - 1, 0));
    let graph = Model::of_edges(length, &edges).graph();
    assert_eq!(graph.dominators().retained_bytes(ObjectId(0)), 200_000);
    assert_eq!(graph.dominators().retained_bytes(ObjectId(199_999)), 1);
    assert_eq!(graph.why(ObjectId(199_999), 2)[0].edges.len(), 199_999);
    let cycles = graph.cycles();
    assert_eq!((cycles.len(), cycles[0].objects.len()), (1, length));
    assert_eq!(graph.way_round(&cycles[0]).1.len(), length);
    let suspects = graph.suspects();
    assert_eq!((suspects.len(), suspects[0].accumulation), (1, Some(ObjectId(0))), "its head stands for the list");
}

/// A program with names: what a walker would give of
/// `app.cache: SESSIONS = {'u1': Session(df)}` and of `def main(): rows = [b, b'…']`.
struct Program {
    builder: HeapBuilder,
    types: Vec<TypeId>,
    next_address: u64,
}

const MODULE: usize = 0;
const DICT: usize = 1;
const SESSION: usize = 2;
const FRAME: usize = 3;
const LIST: usize = 4;
const BYTES: usize = 5;
const ARRAY: usize = 6;

impl Program {
    fn new() -> Self {
        let mut builder = HeapBuilder::new(Meta { python: "3.12.1".to_owned(), ..Meta::default() });
        let seen = TypeFlags::COLLECTED;
        let types = [
            ("module", "builtins", seen | TypeFlags::MODULE),
            ("dict", "builtins", seen),
            ("Session", "app.cache", seen | TypeFlags::FINALIZER),
            ("frame", "builtins", seen | TypeFlags::FRAME),
            ("list", "builtins", seen),
            ("bytes", "builtins", TypeFlags::default()),
            ("ndarray", "numpy", TypeFlags::default()),
        ];
        let types = types.map(|(name, module, flags)| builder.type_(name, module, flags));
        Self { builder, types: types.to_vec(), next_address: 0x10000 }
    }

    fn object(&mut self, type_: usize, bytes: u64) -> ObjectId {
        self.next_address += 16;
        self.builder.object(self.next_address, self.types[type_], bytes)
    }

    fn key(&mut self, from: ObjectId, to: ObjectId, key: &str) {
        let name = self.builder.name(key);
        self.builder.edge(from, to, EdgeName::key(name));
    }

    fn attribute(&mut self, from: ObjectId, to: ObjectId, name: &str) {
        let name = self.builder.name(name);
        self.builder.edge(from, to, EdgeName::attribute(name));
    }

    /// A module and its dictionary.
    fn module(&mut self, name: &str) -> ObjectId {
        let (module, dict) = (self.object(MODULE, 100), self.object(DICT, 200));
        let name = self.builder.name(name);
        self.builder.root(module, RootKind::Module(name));
        self.attribute(module, dict, "__dict__");
        dict
    }
}

fn texts(graph: &Graph, object: ObjectId) -> Vec<String> {
    graph.why(object, 10).iter().map(|path| graph.path_text(path)).collect()
}

#[test]
fn paths_can_be_pasted() {
    let mut program = Program::new();
    let globals = program.module("app.cache");
    let (sessions, session, attributes) =
        (program.object(DICT, 1000), program.object(SESSION, 48), program.object(DICT, 64));
    let (frame, rows, held) = (program.object(FRAME, 0), program.object(LIST, 72), program.object(BYTES, 5000));
    program.key(globals, sessions, "'SESSIONS'");
    program.key(sessions, session, "'u1'");
    program.attribute(session, attributes, "__dict__");
    program.key(attributes, held, "'not a name'");
    let builder = &mut program.builder;
    let names = ["MainThread", "main", "/srv/app.py", "rows", "worker"].map(|name| builder.name(name));
    builder.root(frame, RootKind::Frame { thread: names[0] });
    builder.frame(frame, Frame { function: names[1], file: names[2], line: 12 });
    builder.edge(frame, rows, EdgeName::local(names[3]));
    builder.edge(rows, held, EdgeName::index(0));
    builder.edge(rows, held, EdgeName::index(1));
    let (other, tagged) = (program.object(FRAME, 0), program.object(LIST, 56));
    let builder = &mut program.builder;
    builder.root(other, RootKind::Frame { thread: names[4] });
    builder.edge(other, tagged, EdgeName::cell(names[3]));
    builder.edge(tagged, session, EdgeName::MEMBER);
    let loose = program.object(SESSION, 48);
    program.builder.root(loose, RootKind::HeldByC(2));
    program.attribute(loose, tagged, "tags");
    let addresses = [session, held].map(|object| 0x10010 + 16 * u64::from(object.0));
    let graph = program.builder.finish().unwrap();
    let [session, held] = addresses.map(|address| graph.object_at(address).unwrap());
    assert_eq!(
        texts(&graph, held),
        [
            "main:12 local rows[0]",
            "<frame> (thread worker)<closure over rows><member>.__dict__['not a name']",
            "app.cache.SESSIONS['u1'].__dict__['not a name']",
            "<app.cache.Session held by C, 2 references>.tags<member>.__dict__['not a name']",
        ]
    );
    assert_eq!(texts(&graph, session)[1], "app.cache.SESSIONS['u1']");
}

/// Thirty objects that all refer to each other, and to one that has a single path: looking for a second one leads in circles.
#[test]
fn a_search_that_gives_up_says_so() {
    let edges = (3..33_usize).flat_map(|from| (2..33).map(move |to| (from, to)).chain([(2, from)]));
    let edges = [(0, 1), (1, 2)].into_iter().chain(edges);
    let mut builder = HeapBuilder::new(Meta::default());
    let list = builder.type_("list", "builtins", TypeFlags::COLLECTED);
    let objects: Vec<ObjectId> = (0..33).map(|number| builder.object(64 * (number + 1), list, 56)).collect();
    edges.for_each(|(from, to)| builder.edge(objects[from], objects[to], EdgeName::HIDDEN));
    let name = builder.name("app");
    builder.root(objects[0], RootKind::Module(name));
    let graph = builder.finish().unwrap();
    let asked = graph.object_at(64 * 3).unwrap();
    let (one, two) = (graph.why(asked, 1), graph.why(asked, 2));
    assert_eq!((one.len(), one.is_cut_short), (1, false));
    assert_eq!((two.paths, two.is_cut_short), (one.paths, true));
}

#[test]
fn modules_own_what_is_nearest_to_them() {
    let mut program = Program::new();
    let (near, far) = (program.module("near"), program.module("far"));
    let (shared, local, lost) = (program.object(LIST, 7), program.object(LIST, 50), program.object(LIST, 3));
    let step = program.object(DICT, 30);
    program.key(near, shared, "'shared'");
    program.key(far, step, "'step'");
    program.key(step, shared, "'shared'");
    let frame = program.object(FRAME, 0);
    let builder = &mut program.builder;
    let thread = builder.name("MainThread");
    builder.root(frame, RootKind::Frame { thread });
    builder.edge(frame, local, EdgeName::local(thread));
    builder.edge(frame, shared, EdgeName::local(thread));
    builder.edge(lost, lost, EdgeName::index(0));
    let graph = builder_finish(program);
    let rows = graph.by_module();
    let name = |holder: &Holder| match holder {
        Holder::Module(name) | Holder::Thread(name) => graph.name(*name).to_owned(),
        other => format!("{other:?}"),
    };
    let rows: Vec<(String, u64, u64)> =
        rows.iter().map(|(holder, total)| (name(holder), total.bytes, total.count)).collect();
    let expected = [("far", 330, 3), ("near", 307, 3), ("MainThread", 50, 2), ("Nothing", 3, 1)];
    assert_eq!(rows, expected.map(|(name, bytes, count)| (name.to_owned(), bytes, count)));
}

fn builder_finish(program: Program) -> Graph {
    program.builder.finish().unwrap()
}

#[test]
fn equal_contents_waste_all_but_one() {
    let mut program = Program::new();
    let globals = program.module("app");
    let mut arrays = Vec::new();
    for at in 0..3 {
        let array = program.object(ARRAY, 112);
        let buffer = program.builder.buffer(0x9000 + 16 * at, 8000, BufferKind::Heap);
        program.builder.edge(array, buffer, EdgeName::BUFFER);
        arrays.push(array);
    }
    let (same_hash, lone) = (program.object(BYTES, 33), program.object(BYTES, 44));
    for object in [&arrays[..], &[same_hash, lone]].concat() {
        program.key(globals, object, "'x'");
        program.builder.content(object, if object == lone { 6 } else { 5 });
    }
    let graph = builder_finish(program);
    let duplicates = graph.duplicates();
    assert_eq!(duplicates.len(), 1);
    assert_eq!(graph.type_name(duplicates[0].type_id), "numpy.ndarray");
    let group = &duplicates[0];
    assert_eq!((group.objects.len(), group.each_bytes, group.wasted_bytes), (3, 8112, 16_224));
}

#[test]
fn sparse_things_stand_by_what_could_be_saved() {
    let mut program = Program::new();
    let globals = program.module("app");
    let element = program.builder.name("int8");
    let facts = [
        (LIST, FactKind::OverAllocated { used: 1, capacity: 1000 }, 7992),
        (ARRAY, FactKind::FitsSmaller { element }, 70_000),
        (ARRAY, FactKind::WeakrefCallback, 0),
        (LIST, FactKind::OverAllocated { used: 3, capacity: 3 }, 0),
    ];
    for (type_, fact, saved_bytes) in facts {
        let object = program.object(type_, 100);
        program.key(globals, object, "'x'");
        program.builder.fact(object, fact, saved_bytes);
    }
    let saved: Vec<u64> = builder_finish(program).sparse().iter().map(|fact| fact.saved_bytes).collect();
    assert_eq!(saved, [70_000, 7992]);
}

#[test]
fn a_view_pins_what_it_does_not_use() {
    let mut program = Program::new();
    let globals = program.module("app");
    let (view, base) = (program.object(ARRAY, 112), program.object(ARRAY, 112));
    let buffer = program.builder.buffer(0x9000, 8_000_000, BufferKind::Mmap);
    program.key(globals, view, "'head'");
    program.attribute(view, base, "base");
    program.builder.edge(base, buffer, EdgeName::BUFFER);
    program.builder.fact(view, FactKind::UsesPartOf { used: 80 }, 7_999_920);
    let graph = builder_finish(program);
    let view = graph.facts()[0].object;
    let sizes = graph.sizes(view, |_| true);
    assert_eq!((sizes.shallow_bytes, sizes.deep_bytes), (112, 8_000_224));
    assert_eq!((sizes.retained_bytes, sizes.pinned_bytes), (8_000_224, 7_999_920));
    assert_eq!(graph.sizes(view, |object| !graph.is_a(object, TypeFlags::BUFFER)).deep_bytes, 224);
}

#[test]
fn cycles_say_why_they_matter() {
    let mut program = Program::new();
    let globals = program.module("app");
    let held = program.object(SESSION, 48);
    let array = program.object(ARRAY, 120);
    program.key(globals, held, "'held'");
    program.attribute(held, array, "arr");
    program.builder.edge(array, held, EdgeName::index(0));
    let lost = program.object(LIST, 56);
    program.builder.edge(lost, lost, EdgeName::index(0));
    program.builder.fact(lost, FactKind::WeakrefCallback, 0);
    let graph = builder_finish(program);
    let cycles = graph.cycles();
    let flags = |at: usize| {
        let cycle = &cycles[at];
        (cycle.bytes, cycle.is_unreachable, cycle.is_unseen, cycle.has_finalizer, cycle.has_weakref_callback)
    };
    assert_eq!(flags(0), (168, false, true, true, false));
    assert_eq!(flags(1), (56, true, false, false, true));
    let (start, edges) = graph.way_round(&cycles[0]);
    assert_eq!(
        graph.type_name(graph.type_id(start)),
        "numpy.ndarray",
        "the way begins at what the collector cannot see"
    );
    assert_eq!(graph.steps_text(&edges), "[0].arr");
}

/// A tenth of the heap is the limit; memory gathers where the largest child drops below 70 % of its dominator.
#[test]
fn suspects_by_the_rules_of_the_memory_analyzer() {
    // 0 the root → 1 a cache → 2 its table → 100 entries of 800 bytes; 3 a small list of 100 bytes; 4 … 5000 bytes alone.
    let mut model = Model::of_edges(105, &[(0, 1), (1, 2), (0, 3), (0, 4)]);
    model.edges.extend((5..105).map(|entry| (2, entry)));
    model.sizes[3..5].copy_from_slice(&[100, 20_000]);
    model.sizes[5..].fill(800);
    let graph = model.graph();
    let suspects = graph.suspects();
    let rows: Vec<_> = suspects
        .iter()
        .map(|suspect| (suspect.accumulation.map(|object| at(&graph, object)), suspect.retained_bytes))
        .collect();
    assert_eq!(rows, [(Some(2), 80_001), (Some(4), 20_000)]);
    assert_eq!(
        suspects[0].children.iter().map(|(_, count, bytes)| (*count, *bytes)).collect::<Vec<_>>(),
        [(100, 80_000)]
    );
}

#[test]
fn many_of_one_type_are_a_suspect_without_a_holder() {
    // Two dictionaries hold the same thousand objects, so that neither of them keeps one alive alone.
    let mut model = Model::of_edges(1002, &[]);
    model.roots = vec![0, 1];
    model.edges = (2..1002).flat_map(|entry| [(0, entry), (1, entry)]).collect();
    model.types[2..].fill(1);
    let graph = model.graph();
    let suspects = graph.suspects();
    assert_eq!(suspects.len(), 1);
    assert_eq!((suspects[0].object, suspects[0].retained_bytes), (None, 1000));
    let (type_id, count, _) = suspects[0].children[0];
    assert_eq!((graph.type_name(type_id).as_str(), count), ("model.one", 1000));
}

#[test]
fn wrappers_stand_for_what_they_hold() {
    // A module, its dictionary, a cache of 1000 bytes, and a list of 40 beside it.
    let mut model = Model::of_edges(4, &[(0, 1), (1, 2), (1, 3)]);
    model.sizes = vec![1, 1, 1000, 40];
    let graph = model.graph();
    let found: Vec<usize> = graph.top_without_wrappers(10).iter().map(|object| at(&graph, *object)).collect();
    assert_eq!(found, [2, 3]);
}

/// Classes are tops of the dominator tree by the hundred: together they are the program, not a leak.
#[test]
fn many_small_classes_are_no_suspect() {
    let mut model = Model::of_edges(100, &[]);
    model.roots = (0..100).collect();
    let (mut builder, objects) = model.builder();
    let class = builder.type_("type", "builtins", TypeFlags::COLLECTED | TypeFlags::CLASS);
    for number in 0..1000 {
        let class = builder.object(0x10_0000 + 16 * number, class, 1000);
        builder.root(class, RootKind::HeldByC(1));
    }
    builder.edge(objects[0], objects[1], EdgeName::index(0));
    assert_eq!(builder.finish().unwrap().suspects(), []);
}

/// What is only the inside of something stands under the name of the whole.
#[test]
fn an_array_stands_for_its_buffer_and_a_module_for_its_dictionary() {
    let mut program = Program::new();
    let globals = program.module("app");
    let array = program.object(ARRAY, 112);
    let buffer = program.builder.buffer(0x9000, 5000, BufferKind::Heap);
    program.builder.edge(array, buffer, EdgeName::BUFFER);
    program.key(globals, array, "'data'");
    for index in 0..10 {
        let small = program.object(BYTES, 100);
        program.key(globals, small, &format!("'small{index}'"));
    }
    let graph = builder_finish(program);
    let shown: Vec<String> =
        graph.top_without_wrappers(2).iter().map(|object| texts(&graph, *object)[0].clone()).collect();
    assert_eq!(shown, ["app", "app.data"]);
    let parts = graph.objects().filter(|object| graph.is_part(*object));
    assert_eq!(
        parts.map(|part| texts(&graph, part)[0].clone()).collect::<Vec<_>>(),
        ["app.__dict__", "app.data<buffer>"]
    );
    assert_eq!(texts(&graph, graph.suspects()[0].accumulation.unwrap()), ["app.data"]);
}

#[test]
fn a_mapped_file_is_no_heap() {
    let mut program = Program::new();
    let globals = program.module("app");
    let array = program.object(ARRAY, 112);
    let file = program.builder.buffer(0x9000, 1 << 40, BufferKind::File);
    program.builder.edge(array, file, EdgeName::BUFFER);
    program.key(globals, array, "'mapped'");
    let graph = builder_finish(program);
    let file = graph.object_at(0x9000).unwrap();
    assert_eq!((graph.shallow_bytes(file), graph.own_bytes(file), graph.file_bytes()), (1 << 40, 0, 1 << 40));
    assert_eq!((graph.total().bytes, graph.dominators().retained_bytes(ObjectId(0))), (412, 412));
}

/// The bug: a buffer that begins where an object does hid the object.
#[test]
fn an_object_is_found_before_a_buffer_at_its_address() {
    let mut program = Program::new();
    let array = program.object(ARRAY, 112);
    let address = program.next_address;
    let buffer = program.builder.buffer(address, 5000, BufferKind::Heap);
    program.builder.edge(array, buffer, EdgeName::BUFFER);
    let graph = builder_finish(program);
    assert!(!graph.is_a(graph.object_at(address).unwrap(), TypeFlags::BUFFER));
    let same = graph.diff(&graph);
    assert_eq!((same.new.count, same.gone.count), (0, 0));
}

/// A worker's queue that grew: what is new, under whom, and what was already there.
#[test]
fn a_diff_names_who_holds_what_is_new() {
    let mut before = Model::of_edges(4, &[(0, 1), (0, 2)]);
    before.sizes = vec![50, 100, 70, 9];
    before.edges.push((2, 3));
    let mut after = Model::of_edges(7, &[(0, 1), (0, 2), (2, 4), (4, 5), (1, 6), (2, 6)]);
    after.sizes = vec![50, 180, 70, 9, 10, 1000, 5];
    let (old, new) = (before.graph(), after.graph());
    let diff = new.diff(&old);
    assert_eq!((diff.new.count, diff.new.bytes, diff.gone.count), (3, 1015, 0));
    let holders: Vec<_> =
        diff.holders.iter().map(|row| (row.holder.map(|holder| at(&new, holder)), row.new.bytes)).collect();
    assert_eq!(
        holders,
        [(Some(2), 1010), (Some(0), 5)],
        "two objects hold the last, and their dominator stands for both"
    );
    let grown: Vec<_> =
        diff.grown.iter().map(|row| (at(&new, row.object), row.before_bytes, row.after_bytes)).collect();
    assert_eq!(grown, [(1, 100, 180)]);
    assert_eq!((diff.before.bytes, diff.after.bytes), (229, 1324));
    let same = new.diff(&new);
    assert_eq!((same.new.count, same.gone.count, same.types.len(), same.grown.len()), (0, 0, 0, 0));
}
