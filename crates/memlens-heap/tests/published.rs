//! The cases that guppy3 and PyHeap publish in their own tests: their graphs written anew, and the answers that they
//! expect.
//!
//! guppy3 3.1.7 (the source archive on PyPI, `guppy/heapy/test/`), PyHeap at 469d206 of January 2025
//! (`pyheap-ui/tests/unit/pyheap_ui/`). Each test names the file and the test that it comes from. A test with
//! `differs` in its name is one of those where memlens answers otherwise by rule; docs/heap.md has them in a table.
use memlens_heap::{EdgeName, Graph, HeapBuilder, Meta, ObjectId, RootKind, TypeFlags};
use std::collections::BTreeSet;

/// Bytes of an object and what it refers to, in order. Objects have the numbers 1, 2, 3, …
type Row<'r> = (u64, &'r [usize]);

/// A thread: its name, and for each of its frames the local variables.
type Thread<'r> = (&'r str, &'r [&'r [usize]]);

const ADDRESS: u64 = 16;
const FIRST_FRAME: u64 = 0x10_0000;

/// Objects and what keeps them alive from outside.
struct Case<'r> {
    rows: &'r [Row<'r>],
    /// Held by a module of the name `Src`.
    source: Option<usize>,
    /// Held by C.
    held: &'r [usize],
    threads: &'r [Thread<'r>],
}

impl<'r> Case<'r> {
    fn held(rows: &'r [Row<'r>], held: &'r [usize]) -> Self {
        Self { rows, source: None, held, threads: &[] }
    }

    fn from_source(rows: &'r [Row<'r>], source: usize) -> Self {
        Self { rows, source: Some(source), held: &[], threads: &[] }
    }

    fn graph(&self) -> Graph {
        let mut builder = HeapBuilder::new(Meta::default());
        let list = builder.type_("list", "builtins", TypeFlags::COLLECTED);
        let frame = builder.type_("frame", "builtins", TypeFlags::COLLECTED | TypeFlags::FRAME);
        let addresses = (1..).map(|number| ADDRESS * number);
        let objects: Vec<ObjectId> =
            addresses.zip(self.rows).map(|(address, (bytes, _))| builder.object(address, list, *bytes)).collect();
        for (from, (_, referents)) in objects.iter().zip(self.rows) {
            for (index, to) in referents.iter().enumerate() {
                builder.edge(*from, objects[to - 1], EdgeName::index(index));
            }
        }
        if let Some(source) = self.source {
            let name = builder.name("Src");
            builder.root(objects[source - 1], RootKind::Module(name));
        }
        self.held.iter().for_each(|held| builder.root(objects[held - 1], RootKind::HeldByC(1)));
        let frames = self.threads.iter().flat_map(|(name, frames)| frames.iter().map(move |locals| (name, locals)));
        for (address, (thread, locals)) in (FIRST_FRAME..).step_by(ADDRESS as usize).zip(frames) {
            let (frame, thread) = (builder.object(address, frame, 0), builder.name(thread));
            builder.root(frame, RootKind::Frame { thread });
            locals.iter().for_each(|local| builder.edge(frame, objects[local - 1], EdgeName::local(thread)));
        }
        builder.finish().expect("a graph")
    }
}

fn object(graph: &Graph, number: usize) -> ObjectId {
    graph.object_at(ADDRESS * number as u64).expect("an object")
}

fn number(graph: &Graph, object: ObjectId) -> usize {
    (graph.address(object) / ADDRESS) as usize
}

fn retained(graph: &Graph, asked: usize) -> u64 {
    graph.dominators().retained_bytes(object(graph, asked))
}

/// What goes with the object: itself and all that it dominates.
fn dominated(graph: &Graph, asked: usize) -> BTreeSet<usize> {
    let above = |below: ObjectId| graph.dominators().above(below).any(|above| above == object(graph, asked));
    let below = graph.objects().filter(|below| above(*below)).map(|below| number(graph, below));
    below.chain([asked]).collect()
}

fn immediate(graph: &Graph, asked: usize) -> Option<usize> {
    graph.dominators().immediate(object(graph, asked)).map(|above| number(graph, above))
}

/// Those who refer to any of the objects.
fn referrers(graph: &Graph, asked: &[usize]) -> BTreeSet<usize> {
    let of_one = |asked: &usize| graph.referrers().of(object(graph, *asked));
    asked.iter().flat_map(of_one).map(|from| number(graph, from)).collect()
}

/// What any of the objects refers to.
fn referents(graph: &Graph, asked: &[usize]) -> BTreeSet<usize> {
    let of_one = |asked: &usize| graph.successors(object(graph, *asked));
    asked.iter().flat_map(of_one).map(|to| number(graph, to)).collect()
}

/// Up to `count` paths as text.
fn paths(graph: &Graph, asked: usize, count: usize) -> Vec<String> {
    let found = graph.why(object(graph, asked), count);
    assert!(!found.is_cut_short);
    found.iter().map(|path| graph.path_text(path)).collect()
}

/// What would go if all frames of the thread went.
fn retained_by_thread(graph: &Graph, thread: &str) -> u64 {
    let is_of_thread = |kind| matches!(kind, RootKind::Frame { thread: name } if graph.name(name) == thread);
    let frames = graph.roots().iter().filter(|root| is_of_thread(root.kind)).map(|root| root.object);
    graph.retained(&frames.collect::<Vec<_>>()).bytes
}

mod pyheap {
    //! `test_retained_heap_calculator.py`, `test_heap.py`, `test_inbound_references.py`.
    //!
    //! PyHeap counts references down and knows no roots: what nothing refers to lives, and so does a cycle that
    //! nothing refers to. Here such objects are held by C; a cycle once by each object for which PyHeap publishes a
    //! figure, since "held by the one asked about" is what its question means there.
    use super::*;

    struct Shape {
        name: &'static str,
        rows: &'static [Row<'static>],
        held: &'static [usize],
        /// Object and the figure that PyHeap publishes.
        retained: &'static [(usize, u64)],
        /// Of the objects 1, 2, 3, …; 0 for those that nothing dominates. PyHeap publishes none.
        dominators: &'static [usize],
    }

    const CIRCLE: &[Row] = &[(10, &[2]), (20, &[3]), (30, &[1])];
    const COMPLEX_1: &[Row] =
        &[(10, &[3]), (20, &[1, 6]), (30, &[2, 4]), (40, &[5]), (50, &[3]), (60, &[7]), (70, &[])];
    const COMPLEX_2: &[Row] =
        &[(10, &[5, 6]), (20, &[4, 7]), (30, &[5]), (40, &[2]), (50, &[6]), (60, &[7, 8]), (70, &[5]), (80, &[])];

    const SHAPES: &[Shape] = &[
        Shape { name: "test_minimal", rows: &[(20, &[])], held: &[1], retained: &[(1, 20)], dominators: &[0] },
        Shape { name: "test_self_reference", rows: &[(20, &[1])], held: &[1], retained: &[(1, 20)], dominators: &[0] },
        Shape {
            name: "test_circular_reference, held by 1",
            rows: CIRCLE,
            held: &[1],
            retained: &[(1, 60)],
            dominators: &[0, 1, 2],
        },
        Shape {
            name: "test_circular_reference, held by 2",
            rows: CIRCLE,
            held: &[2],
            retained: &[(2, 60)],
            dominators: &[3, 0, 2],
        },
        Shape {
            name: "test_circular_reference, held by 3",
            rows: CIRCLE,
            held: &[3],
            retained: &[(3, 60)],
            dominators: &[3, 1, 0],
        },
        Shape {
            name: "test_simple_tree",
            rows: &[(10, &[2, 3, 4]), (20, &[]), (30, &[]), (40, &[])],
            held: &[1],
            retained: &[(1, 100), (2, 20), (3, 30), (4, 40)],
            dominators: &[0, 1, 1, 1],
        },
        Shape {
            name: "test_multi_level_tree",
            rows: &[
                (10, &[2, 3, 4]),
                (20, &[5, 6, 7]),
                (30, &[8]),
                (40, &[9, 10, 11]),
                (50, &[]),
                (60, &[]),
                (70, &[]),
                (80, &[]),
                (90, &[]),
                (100, &[]),
                (110, &[]),
            ],
            held: &[1],
            retained: &[
                (1, 660),
                (2, 200),
                (3, 110),
                (4, 340),
                (5, 50),
                (6, 60),
                (7, 70),
                (8, 80),
                (9, 90),
                (10, 100),
                (11, 110),
            ],
            dominators: &[0, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4],
        },
        Shape {
            name: "test_long_branch",
            rows: &[(10, &[2, 7]), (20, &[3]), (30, &[4]), (40, &[5]), (50, &[6]), (60, &[]), (70, &[])],
            held: &[1],
            retained: &[(1, 280), (2, 200), (3, 180), (4, 150), (5, 110), (6, 60), (7, 70)],
            dominators: &[0, 1, 2, 3, 4, 5, 1],
        },
        Shape {
            name: "test_transitive",
            rows: &[(10, &[2, 3]), (20, &[]), (30, &[2])],
            held: &[1],
            retained: &[(1, 60), (2, 20), (3, 30)],
            dominators: &[0, 1, 1],
        },
        Shape {
            name: "test_side_reference",
            rows: &[(10, &[2]), (20, &[3]), (30, &[4]), (40, &[]), (50, &[4])],
            held: &[1, 5],
            retained: &[(1, 60), (2, 50), (3, 30), (4, 40), (5, 50)],
            dominators: &[0, 1, 2, 0, 0],
        },
        Shape {
            name: "test_cross",
            rows: &[(10, &[3, 4]), (20, &[3, 4]), (30, &[]), (40, &[])],
            held: &[1, 2],
            retained: &[(1, 10), (2, 20), (3, 30), (4, 40)],
            dominators: &[0, 0, 0, 0],
        },
        Shape {
            name: "test_complex_1",
            rows: COMPLEX_1,
            held: &[3],
            retained: &[(1, 10), (2, 160), (3, 280), (4, 90), (5, 50)],
            dominators: &[2, 3, 0, 3, 4, 2, 6],
        },
        Shape {
            name: "test_complex_2, the pair 2 and 4 held by 2",
            rows: COMPLEX_2,
            held: &[1, 2, 3],
            retained: &[(1, 10), (2, 60), (3, 30), (5, 50), (6, 140), (7, 70), (8, 80)],
            dominators: &[0, 0, 0, 2, 0, 0, 0, 6],
        },
        Shape {
            name: "test_complex_2, the pair 2 and 4 held by 4",
            rows: COMPLEX_2,
            held: &[1, 3, 4],
            retained: &[(1, 10), (3, 30), (4, 60), (5, 50), (6, 140), (7, 70), (8, 80)],
            dominators: &[0, 4, 0, 0, 0, 0, 0, 6],
        },
        Shape {
            name: "test_complex_3",
            rows: &[(10, &[2, 3]), (20, &[4, 5, 6, 7]), (30, &[7]), (40, &[]), (50, &[]), (60, &[]), (70, &[])],
            held: &[1],
            retained: &[(1, 280), (2, 170), (3, 30), (4, 40), (5, 50), (6, 60), (7, 70)],
            dominators: &[0, 1, 1, 2, 2, 2, 1],
        },
        Shape {
            name: "test_forest_minimal",
            rows: &[(10, &[]), (20, &[]), (30, &[]), (40, &[])],
            held: &[1, 2, 3, 4],
            retained: &[(1, 10), (2, 20), (3, 30), (4, 40)],
            dominators: &[0, 0, 0, 0],
        },
        Shape {
            name: "test_forest_simple",
            rows: &[(10, &[2]), (20, &[]), (30, &[4]), (40, &[])],
            held: &[1, 3],
            retained: &[(1, 30), (2, 20), (3, 70), (4, 40)],
            dominators: &[0, 1, 0, 3],
        },
    ];

    #[test]
    fn retained_heap_of_objects() {
        for shape in SHAPES {
            let graph = Case::held(shape.rows, shape.held).graph();
            for (asked, bytes) in shape.retained {
                assert_eq!(retained(&graph, *asked), *bytes, "{}: object {asked}", shape.name);
                assert_eq!(graph.retained(&[object(&graph, *asked)]).bytes, *bytes, "{}: object {asked}", shape.name);
            }
            let dominators = (1..=shape.rows.len()).map(|asked| immediate(&graph, asked).unwrap_or(0));
            assert_eq!(dominators.collect::<Vec<_>>(), shape.dominators, "{}", shape.name);
        }
    }

    /// `test_circular_reference` as it stands: PyHeap says 60 of each of the three. In memlens what nothing holds is
    /// found by one of its objects, and the others are kept by that one.
    #[test]
    fn differs_a_cycle_that_nothing_holds_is_found_by_one_object() {
        let graph = Case::held(CIRCLE, &[]).graph();
        assert_eq!([1, 2, 3].map(|asked| retained(&graph, asked)), [60, 50, 30]);
        let cycles = graph.cycles();
        assert_eq!((cycles.len(), cycles[0].bytes, cycles[0].is_unreachable), (1, 60, true));
        assert_eq!(paths(&graph, 3, 9), ["<unreachable list>[0][0]"]);
    }

    fn threads<const N: usize>(rows: &[Row], held: &[usize], threads: [Thread; N]) -> [u64; N] {
        let graph = Case { rows, source: None, held, threads: &threads }.graph();
        threads.map(|(name, _)| retained_by_thread(&graph, name))
    }

    #[test]
    fn test_thread_minimal() {
        let found = threads(&[(10, &[]), (20, &[])], &[], [("thread1", &[&[1]]), ("thread2", &[&[2]])]);
        assert_eq!(found, [10, 20]);
    }

    #[test]
    fn test_thread_simple() {
        assert_eq!(threads(&[(10, &[2, 3]), (20, &[]), (30, &[2])], &[], [("thread1", &[&[1]])]), [60]);
    }

    #[test]
    fn test_thread_two_threads_cross() {
        let rows: &[Row] = &[(10, &[]), (20, &[]), (30, &[])];
        assert_eq!(threads(rows, &[], [("thread1", &[&[1, 2]]), ("thread2", &[&[2, 3]])]), [10, 30]);
    }

    #[test]
    fn test_thread_and_object_cross() {
        let rows: &[Row] = &[(10, &[]), (20, &[]), (30, &[2])];
        assert_eq!(threads(rows, &[3], [("thread1", &[&[1, 2]])]), [10]);
    }

    /// `test_thread_simple_multi_frame`. Of thread2, whose locals 4, 5 and 6 are a cycle, PyHeap says 0, "all objects
    /// remain due to the circular reference": it counts references. CPython's collector frees the cycle, so that
    /// memlens says 150.
    #[test]
    fn differs_test_thread_simple_multi_frame_a_cycle_goes_with_its_thread() {
        let rows: &[Row] = &[(10, &[2, 3]), (20, &[]), (30, &[]), (40, &[5]), (50, &[6]), (60, &[4])];
        let found = threads(rows, &[], [("thread1", &[&[2], &[1, 3]]), ("thread2", &[&[5, 6], &[4]])]);
        assert_eq!(found, [60, 150]);
    }

    #[test]
    fn test_thread_complex_1() {
        assert_eq!(threads(COMPLEX_1, &[], [("thread1", &[&[1, 2]]), ("thread2", &[&[5, 7]])]), [0, 0]);
    }

    /// Twenty thousand objects of 20 bytes, each third of which refers to the next. PyHeap compares its two
    /// calculators.
    #[test]
    fn test_calculators_equivalent_on_big_generated() {
        let next: Vec<[usize; 1]> = (0..20_000).map(|number| [number + 2]).collect();
        let is_third = |number: usize| number.is_multiple_of(3);
        let rows: Vec<Row> =
            (0..20_000).map(|number| (20, if is_third(number) { &next[number][..] } else { &[] })).collect();
        let held: Vec<usize> = (0..20_000).filter(|number| number % 3 != 1).map(|number| number + 1).collect();
        let graph = Case::held(&rows, &held).graph();
        let found = (0..20_000).map(|number| retained(&graph, number + 1));
        let expected = (0..20_000).map(|number| if is_third(number) { 40 } else { 20 });
        assert_eq!(found.collect::<Vec<u64>>(), expected.collect::<Vec<u64>>());
    }

    /// `test_heap.py`: `test_objects_sorted_by_retained_heap`, `test_types_sorted_by_retained_heap`. The figures are
    /// given there; here they are those of objects that hold nothing.
    #[test]
    fn sorted_by_retained_heap() {
        let mut builder = HeapBuilder::new(Meta::default());
        let types = ["four", "five", "ten"].map(|name| builder.type_(name, "m", TypeFlags::COLLECTED));
        let rows = [(1, 0, 123), (2, 1, 777), (3, 0, 12), (4, 2, 2), (5, 2, 3), (10, 2, 0)];
        for (number, type_, bytes) in rows {
            let made = builder.object(ADDRESS * number, types[type_], bytes);
            builder.root(made, RootKind::HeldByC(1));
        }
        let graph = builder.finish().unwrap();
        let top: Vec<usize> = graph.top(9).iter().map(|found| number(&graph, *found)).collect();
        assert_eq!(top, [2, 1, 3, 5, 4, 10]);
        let by_type: Vec<(String, u64)> =
            graph.by_type().iter().map(|row| (graph.type_name(row.type_id), row.retained_bytes)).collect();
        let expected = [("m.five", 777), ("m.four", 135), ("m.ten", 5)];
        assert_eq!(by_type, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    /// `test_inbound_references.py`: `test_minimal`, `test_self_reference` and `simple`, which its name keeps from
    /// running there.
    #[test]
    fn inbound_references() {
        let rows: [(&[Row], &[&[usize]]); 3] = [
            (&[(0, &[])], &[&[]]),
            (&[(0, &[1])], &[&[1]]),
            (&[(0, &[2, 3]), (0, &[4]), (0, &[]), (0, &[3])], &[&[], &[1], &[1, 4], &[2]]),
        ];
        for (rows, expected) in rows {
            let graph = Case::held(rows, &[1]).graph();
            for (asked, expected) in (1..).zip(expected) {
                assert_eq!(referrers(&graph, &[asked]), expected.iter().copied().collect(), "{rows:?}: object {asked}");
            }
        }
    }
}

mod guppy {
    //! `test_View.py`, `test_UniSet.py`, `test_RefPat.py`, `test_Path.py`, `test_Part.py`, `test_heapyc.py`. The list
    //! that guppy calls `Src` is held by a module of this name here, so that paths read alike.
    use super::*;

    /// One frame with these locals, as guppy's test functions are.
    fn in_frame(rows: &[Row], locals: &[usize]) -> Graph {
        Case { rows, source: None, held: &[], threads: &[("MainThread", &[locals])] }.graph()
    }

    /// x = []; y = [x, []]; z = [y]; the last object is y[1].
    const X_Y_Z: &[Row] = &[(1, &[]), (10, &[1, 4]), (100, &[2]), (1000, &[])];

    /// `test_View.py`, `test_dominos`: what is dominated, and its size, before and after `del y`.
    #[test]
    fn test_dominos() {
        let all = in_frame(X_Y_Z, &[1, 2, 3]);
        assert_eq!((dominated(&all, 2), retained(&all, 2)), (BTreeSet::from([2, 4]), 1010));
        assert_eq!((dominated(&all, 3), retained(&all, 3)), (BTreeSet::from([3]), 100));
        let without_y = in_frame(X_Y_Z, &[1, 3]);
        assert_eq!((dominated(&without_y, 3), retained(&without_y, 3)), (BTreeSet::from([2, 3, 4]), 1110));
    }

    /// `test_View.py`, `test_imdom`: x = []; y = [x, []]; z = [x, y]; del x, y.
    #[test]
    fn test_imdom() {
        let graph = in_frame(&[(1, &[]), (1, &[1, 4]), (1, &[1, 2]), (1, &[])], &[3]);
        assert_eq!(immediate(&graph, 1), Some(3));
    }

    /// `View.imdom`, which guppy's test takes on the case above only: of a set of referrers it gives all that a path
    /// from the root comes to first, two for a diamond. A dominator is one object, or none below the roots.
    #[test]
    fn differs_imdom_is_one_object() {
        let graph = in_frame(&[(1, &[2, 3]), (1, &[4]), (1, &[4]), (1, &[])], &[1]);
        assert_eq!((immediate(&graph, 4), referrers(&graph, &[4])), (Some(1), BTreeSet::from([2, 3])));
    }

    /// `test_View.py`, `test_referents` and `test_exports`.
    #[test]
    fn test_referents() {
        let graph = in_frame(X_Y_Z, &[1, 2, 3]);
        assert_eq!(referents(&graph, &[1]), BTreeSet::new());
        assert_eq!(referents(&graph, &[2]), BTreeSet::from([1, 4]));
        assert_eq!(referents(&graph, &[3]), BTreeSet::from([2]));
        assert_eq!(referents(&graph, &[2, 3]), BTreeSet::from([1, 2, 4]));
        let of_z: u64 = graph.successors(object(&graph, 3)).map(|to| graph.own_bytes(to)).sum();
        assert_eq!(of_z, graph.own_bytes(object(&graph, 2)));
    }

    /// `test_UniSet.py`, `test_3`: a = []; b = [a]; c = [b], and c is the root.
    #[test]
    fn test_out_reaching() {
        let graph = Case::from_source(&[(1, &[]), (10, &[1]), (100, &[2])], 3).graph();
        assert_eq!(referrers(&graph, &[2]), BTreeSet::from([3]));
        assert_eq!(referents(&graph, &[2]), BTreeSet::from([1]));
        assert_eq!(referrers(&graph, &[1]), BTreeSet::from([2]));
        assert_eq!((dominated(&graph, 2), retained(&graph, 2)), (BTreeSet::from([1, 2]), 11));
    }

    /// `test_View.py`, `test_horizon`: what is new since, with x and after `del x`.
    #[test]
    fn test_horizon() {
        let before = in_frame(&[(1, &[])], &[1]);
        let with_x = in_frame(&[(1, &[]), (56, &[])], &[1, 2]);
        let diff = with_x.diff(&before);
        assert_eq!((diff.new.count, diff.new.bytes, diff.gone.count), (1, 56, 0));
        // The frame holds it, and was there before.
        let holder = diff.holders[0].holder.expect("a holder");
        assert!(with_x.is_a(holder, TypeFlags::FRAME));
        let again = before.diff(&before);
        assert_eq!((again.new.count, again.gone.count, again.holders.len()), (0, 0, 0));
    }

    /// `test_Part.py`, `StatCase`: instances of two classes of one name; x has both, y the second.
    #[test]
    fn test_diff_counts_by_name_of_class() {
        let of_instances = |numbers: &[u64]| {
            let mut builder = HeapBuilder::new(Meta::default());
            let classes = [1, 2].map(|_| builder.type_("C", "m", TypeFlags::COLLECTED));
            for number in numbers {
                let made = builder.object(ADDRESS * number, classes[*number as usize - 1], 48);
                builder.root(made, RootKind::HeldByC(1));
            }
            builder.finish().unwrap()
        };
        let (none, x, y) = (of_instances(&[]), of_instances(&[1, 2]), of_instances(&[2]));
        for (after, before, count) in [(&x, &y, 1), (&y, &x, -1), (&x, &none, 2), (&none, &x, -2)] {
            let diff = after.diff(before);
            let growth = |after: u64, before: u64| after as i64 - before as i64;
            let of_type = &diff.types[0];
            assert_eq!((diff.types.len(), of_type.name.as_str()), (1, "m.C"));
            assert_eq!(growth(of_type.after.count, of_type.before.count), count);
            assert_eq!(growth(diff.new.count, diff.gone.count), count);
        }
    }

    /// `test_RefPat.py`, `test_basic_methods`: five lists around one, each the only referrer and dominator of the one
    /// inside; and a list that holds itself.
    #[test]
    fn test_reference_pattern() {
        let chain: &[Row] = &[(1, &[]), (1, &[1]), (1, &[2]), (1, &[3]), (1, &[4]), (1, &[5])];
        let graph = in_frame(chain, &[6]);
        for asked in 1..6 {
            assert_eq!(referrers(&graph, &[asked]), BTreeSet::from([asked + 1]));
            assert_eq!((immediate(&graph, asked), retained(&graph, asked)), (Some(asked + 1), asked as u64));
        }
        let recursive = Case::from_source(&[(1, &[1]), (1, &[1])], 2).graph();
        assert_eq!(referrers(&recursive, &[1]), BTreeSet::from([1, 2]));
        assert_eq!((immediate(&recursive, 1), retained(&recursive, 1)), (Some(2), 1));
        let cycles: Vec<Vec<usize>> = recursive
            .cycles()
            .iter()
            .map(|cycle| cycle.objects.iter().map(|one| number(&recursive, *one)).collect())
            .collect();
        assert_eq!(cycles, [[1]]);
        assert_eq!(paths(&recursive, 1, 9), ["Src[0]"]);
    }

    /// `test_RefPat.py`, `test_some_more_advanced_usages`: src = [dst, [dst]], by immediate dominators.
    #[test]
    fn test_reference_pattern_by_dominators() {
        let graph = Case::from_source(&[(1, &[]), (1, &[1, 3]), (1, &[1])], 2).graph();
        assert_eq!(immediate(&graph, 1), Some(2));
    }

    /// `test_RefPat.py`, `test_reset` and `test_paths`: a = [dst]; b = [dst]; src = [a, b]; then b.pop().
    #[test]
    fn test_reference_pattern_reset_and_paths() {
        let graph = Case::from_source(&[(1, &[]), (1, &[1]), (1, &[1]), (1, &[2, 3])], 4).graph();
        assert_eq!(referrers(&graph, &[1]), BTreeSet::from([2, 3]));
        assert_eq!(paths(&graph, 1, 9), ["Src[0][0]", "Src[1][0]"]);
        let popped = Case::from_source(&[(1, &[]), (1, &[1]), (1, &[]), (1, &[2, 3])], 4).graph();
        assert_eq!(referrers(&popped, &[1]), BTreeSet::from([2]));
    }

    /// `test_RefPat.py`, `test_referrer_registration`: dst is in a and in the tuple b, a in aa, b in ba, both in src.
    #[test]
    fn test_referrers_of_referrers() {
        let rows: &[Row] = &[(1, &[]), (1, &[1]), (1, &[2]), (1, &[1]), (1, &[4]), (1, &[3, 5])];
        let graph = Case::from_source(rows, 6).graph();
        assert_eq!(referrers(&graph, &[1]), BTreeSet::from([2, 4]));
        assert_eq!(referrers(&graph, &[2, 4]), BTreeSet::from([3, 5]));
        assert_eq!(paths(&graph, 1, 9), ["Src[0][0][0]", "Src[1][0][0]"]);
    }

    /// `test_Path.py`, `test_path`, and `NewTestCase`: dst is object 1, src object 2.
    #[test]
    fn test_path() {
        let cases: [(&[Row], &[&str]); 6] = [
            (&[(1, &[]), (1, &[1])], &["Src[0]"]),
            (&[(1, &[]), (1, &[3, 1]), (1, &[])], &["Src[1]"]),
            (&[(1, &[]), (1, &[3, 1, 4]), (1, &[1]), (1, &[1])], &["Src[1]"]),
            (&[(1, &[]), (1, &[3, 4]), (1, &[1]), (1, &[1])], &["Src[0][0]", "Src[1][0]"]),
            (&[(1, &[]), (1, &[3]), (1, &[4]), (1, &[1])], &["Src[0][0][0]"]),
            (&[(1, &[]), (1, &[3]), (1, &[4]), (1, &[5]), (1, &[1])], &["Src[0][0][0][0]"]),
        ];
        for (rows, expected) in cases {
            let graph = Case::from_source(rows, 2).graph();
            let found = graph.why(object(&graph, 1), 9);
            // guppy gives the shortest; here the longer ones come after them.
            let shortest = found.iter().filter(|path| path.edges.len() == found[0].edges.len());
            assert_eq!(shortest.map(|path| graph.path_text(path)).collect::<Vec<_>>(), expected, "{rows:?}");
        }
    }

    /// `test_Path.py`: `[dst, dst]`, twenty times dst (`NewTestCase.test_2`), eleven (`test_4`), and a dict with dst
    /// under two keys (`test_comparison`). guppy gives a path for each of the references. In memlens the second
    /// reference of one object to another is no path of its own, for it says no more about who keeps it alive.
    #[test]
    fn differs_two_references_of_one_object_are_one_path() {
        for times in [2, 11, 20] {
            let graph = Case::from_source(&[(1, &[]), (1, &[1].repeat(times))], 2).graph();
            assert_eq!(paths(&graph, 1, 99), ["Src[0]"]);
        }
        // MultiTestCase.test_pp: two targets, each twice in Src; guppy gives Src[0] and Src[2], Src[1] and Src[3].
        let graph = Case::from_source(&[(1, &[]), (1, &[1, 3, 1, 3]), (1, &[])], 2).graph();
        assert_eq!([paths(&graph, 1, 9), paths(&graph, 3, 9)], [["Src[0]"], ["Src[1]"]]);
    }

    /// Layers of `width` lists, each of which refers to all of the next layer; those of the last refer `width` times
    /// to dst, object 1. Src, the last object, refers to the first layer. guppy's `makegraph`.
    fn layers(width: usize, length: usize) -> (Vec<Vec<usize>>, usize) {
        let mut rows = vec![vec![]];
        let mut below = vec![1; width];
        for _ in 1..length {
            let first = rows.len() + 1;
            rows.extend(std::iter::repeat_n(below, width));
            below = (first..first + width).collect();
        }
        rows.push(below);
        let source = rows.len();
        (rows, source)
    }

    fn graph_of(rows: &[Vec<usize>], source: usize) -> Graph {
        let rows: Vec<Row> = rows.iter().map(|referents| (1, referents.as_slice())).collect();
        Case::from_source(&rows, source).graph()
    }

    /// `test_Path.py`, `chkgraph`: guppy has `width` times as many paths, see above.
    #[test]
    fn test_paths_through_layers() {
        let cases: [(usize, usize, &[&str]); 5] = [
            (1, 1, &["Src[0]"]),
            (1, 2, &["Src[0][0]"]),
            (2, 1, &["Src[0]"]),
            (2, 2, &["Src[0][0]", "Src[1][0]"]),
            (3, 2, &["Src[0][0]", "Src[1][0]", "Src[2][0]"]),
        ];
        for (width, length, expected) in cases {
            let (rows, source) = layers(width, length);
            assert_eq!(paths(&graph_of(&rows, source), 1, 99), expected, "{length} layers of {width}");
        }
    }

    /// `test_Path.py`, `test_numpaths`: width to the power of length in guppy, where each of the last references
    /// counts.
    #[test]
    fn test_number_of_paths() {
        for (width, length) in [(2_usize, 1), (7, 3), (3, 7)] {
            let (rows, source) = layers(width, length);
            let found: BTreeSet<String> = paths(&graph_of(&rows, source), 1, 10_000).into_iter().collect();
            assert_eq!(found.len(), width.pow(length as u32 - 1));
        }
    }

    /// `test_Path.py`, `test_iter`, `test_numpaths` (10, 20) and `test_subscript`: the first of an astronomical
    /// number of shortest paths, with as many dead ends beside them. The bug: the search went breadth first, found
    /// none of them, and said that it had gone in circles.
    #[test]
    fn test_first_of_an_astronomical_number_of_paths() {
        for (width, length) in [(11, 13), (10, 20), (3, 40)] {
            let (mut rows, source) = layers(width, length);
            let (other, other_source) = layers(width, length);
            let moved = other.iter().map(|referents| referents.iter().map(|to| to + rows.len()).collect());
            let (dead_ends, dead_end) = (moved.collect::<Vec<Vec<usize>>>(), other_source + rows.len());
            rows[source - 1][0] = dead_end;
            rows.extend(dead_ends);
            let graph = graph_of(&rows, source);
            let found: BTreeSet<String> = paths(&graph, 1, 20).into_iter().collect();
            assert_eq!(found.len(), 20);
            assert!(found.iter().all(|path| path.matches('[').count() == length && !path.starts_with("Src[0]")));
        }
    }

    /// `test_Path.py`, `AvoidTestCase`: a ladder of three steps, each of which has a short way at 1 and a long one at
    /// 2. guppy finds the longer ways by leaving out references of the first; here they are the next paths.
    #[test]
    fn test_avoided_references_are_the_longer_paths() {
        // 1 is dst, the last b; 2 src; 3 and 4 the first b and c, 5 and 6 the second, 7 the last c; 8 stands for the
        // texts.
        let rows: &[Row] = &[
            (1, &[8]),
            (1, &[8, 3, 4]),
            (1, &[8, 5, 6]),
            (1, &[8, 3]),
            (1, &[8, 1, 7]),
            (1, &[8, 5]),
            (1, &[8, 1]),
            (1, &[]),
        ];
        let graph = Case::from_source(rows, 2).graph();
        let found = paths(&graph, 1, 99);
        let by_length = [&found[..1], &found[1..4], &found[4..7], &found[7..]];
        let expected: [&[&str]; 4] = [
            &["[1][1][1]"],
            &["[2][1][1][1]", "[1][2][1][1]", "[1][1][2][1]"],
            &["[2][1][2][1][1]", "[1][2][1][2][1]", "[2][1][1][2][1]"],
            &["[2][1][2][1][2][1]"],
        ];
        let set = |paths: &[&str]| paths.iter().map(|path| format!("Src{path}")).collect::<BTreeSet<_>>();
        assert_eq!(by_length.map(|paths| paths.iter().cloned().collect::<BTreeSet<_>>()), expected.map(set));
    }

    /// `test_Path.py`, `NewTestCase.test_1`: paths from several sources are those from the closest; a source on the
    /// way ends a path.
    #[test]
    fn test_paths_from_several_sources() {
        // x = []; y = [x]; z = [y]; ob.x = x.
        let rows: &[Row] = &[(1, &[]), (10, &[1]), (1, &[2]), (1, &[1])];
        let starts = |held: &[usize]| {
            let graph = Case::held(rows, held).graph();
            let found = graph.why(object(&graph, 1), 9);
            found.iter().map(|path| (number(&graph, path.root.object), path.edges.len())).collect::<BTreeSet<_>>()
        };
        assert_eq!(starts(&[2, 3]), BTreeSet::from([(2, 1)]));
        assert_eq!(starts(&[4, 2, 3]), BTreeSet::from([(2, 1), (4, 1)]));
    }

    /// `test_Path.py`, `NewTestCase.test_empty` and `test_3`: no source, or none that leads there. guppy has no path
    /// then; memlens gives the one from where it found the object, and says that nothing keeps it alive.
    #[test]
    fn differs_what_no_source_reaches_has_a_path_that_says_so() {
        let graph = Case::held(&[(1, &[])], &[]).graph();
        assert_eq!(paths(&graph, 1, 9), ["<unreachable list>"]);
        let elsewhere = Case::from_source(&[(1, &[]), (1, &[])], 2).graph();
        assert_eq!(paths(&elsewhere, 1, 9), ["<unreachable list>"]);
    }

    /// `test_heapyc.py`, `TestNodeGraph`: a graph of references both ways round.
    #[test]
    fn test_references_turned_around() {
        // 1 → 2, 3 → 5, 4 → 5, then 5 → 6.
        let graph = Case::held(&[(1, &[2]), (1, &[]), (1, &[5]), (1, &[5]), (1, &[6]), (1, &[])], &[1, 3, 4]).graph();
        assert_eq!(referents(&graph, &[1, 3]), BTreeSet::from([2, 5]));
        assert_eq!(referrers(&graph, &[2]), BTreeSet::from([1]));
        assert_eq!(referrers(&graph, &[2, 5, 3]), BTreeSet::from([1, 3, 4]));
        assert_eq!(referents(&graph, &[5]), BTreeSet::from([6]));
    }

    /// `test_heapyc.py`, `test_inrel`: x is in y once, then six times; each of the references has its own name.
    #[test]
    fn test_every_reference_has_its_name() {
        for times in [1, 6] {
            let graph = Case::from_source(&[(1, &[]), (1, &[1].repeat(times))], 2).graph();
            let names: Vec<EdgeName> = graph.edges(object(&graph, 2)).map(|edge| edge.name).collect();
            assert_eq!(names, (0..times).map(EdgeName::index).collect::<Vec<_>>());
        }
    }
}
