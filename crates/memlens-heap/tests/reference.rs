//! Every answer against a slow and simple one, on random graphs.
mod model;

use memlens_heap::{Graph, Path, RootKind, ShortestPaths};
use model::{Model, at, models, object, roots_of};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CASES: u32 = 2000;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// The dominators of each object: those without which it is out of reach.
fn dominators(model: &Model, roots: &[usize]) -> Vec<BTreeSet<usize>> {
    let mut dominators = vec![BTreeSet::new(); model.len()];
    for candidate in 0..model.len() {
        let reached = model.reachable(roots, &[candidate]);
        for object in (0..model.len()).filter(|object| *object != candidate && !reached.contains(object)) {
            dominators[object].insert(candidate);
        }
    }
    dominators
}

/// All paths from one of `roots` to an object on which no object stands twice and only the first is one of `ends`.
fn all_paths(model: &Model, roots: &BTreeSet<usize>, ends: &BTreeSet<usize>, to: usize) -> BTreeSet<Vec<usize>> {
    let successors = model.successors();
    let mut paths = BTreeSet::new();
    let mut left: Vec<Vec<usize>> = vec![vec![to]];
    while let Some(path) = left.pop() {
        if roots.contains(&path[0]) {
            paths.insert(path);
            continue;
        }
        if ends.contains(&path[0]) {
            continue;
        }
        for from in (0..model.len()).filter(|from| successors[*from].contains(&path[0]) && !path.contains(from)) {
            left.push([&[from], path.as_slice()].concat());
        }
    }
    paths
}

/// All paths in the order of their tiers: from modules, from what C code holds, and only where both give nothing from what
/// nothing keeps alive.
fn paths_by_tier(graph: &Graph, model: &Model, to: usize) -> Vec<BTreeSet<Vec<usize>>> {
    let is_tier = |tier: usize, kind: RootKind| match kind {
        RootKind::HeldByC(_) => tier == 1,
        RootKind::Unreachable => tier == 2,
        _ => tier == 0,
    };
    let roots = |tier: usize| -> BTreeSet<usize> {
        let of_tier = graph.roots().iter().filter(|root| is_tier(tier, root.kind));
        of_tier.map(|root| at(graph, root.object)).collect()
    };
    let named = roots(0);
    let held: BTreeSet<usize> = roots(1).difference(&named).copied().collect();
    let mut tiers = vec![all_paths(model, &named, &named, to), all_paths(model, &held, &named, to)];
    if tiers.iter().all(BTreeSet::is_empty) {
        tiers.push(all_paths(model, &roots(2), &(&named | &held), to));
    }
    tiers
}

fn live_roots(graph: &Graph) -> BTreeSet<usize> {
    let live = graph.roots().iter().filter(|root| root.kind != RootKind::Unreachable);
    live.map(|root| at(graph, root.object)).collect()
}

fn objects_on(graph: &Graph, path: &Path) -> Vec<usize> {
    path.objects().map(|object| at(graph, object)).collect()
}

/// Groups of objects that all reach each other, and objects that refer to themselves.
fn components(model: &Model) -> BTreeSet<Vec<usize>> {
    let successors = model.successors();
    let reached: Vec<BTreeSet<usize>> = (0..model.len())
        .map(|from| model.reachable(&successors[from].iter().copied().collect::<Vec<_>>(), &[]))
        .collect();
    let group = |object: usize| -> Vec<usize> {
        (0..model.len()).filter(|other| reached[object].contains(other) && reached[*other].contains(&object)).collect()
    };
    (0..model.len()).map(group).filter(|group| !group.is_empty()).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn immediate_dominators(model in models(14)) {
        let graph = model.graph();
        let dominators = dominators(&model, &roots_of(&graph));
        for object in graph.objects() {
            let own = &dominators[at(&graph, object)];
            // The nearest is the one that all others dominate.
            let nearest = own.iter().copied().max_by_key(|candidate| dominators[*candidate].len());
            let found = graph.dominators().immediate(object).map(|above| at(&graph, above));
            prop_assert_eq!(found, nearest);
            let above: BTreeSet<usize> = graph.dominators().above(object).map(|above| at(&graph, above)).collect();
            prop_assert_eq!(&above, own);
        }
    }

    #[test]
    fn retained_bytes(model in models(14), set in prop::collection::btree_set(0..14_usize, 0..5)) {
        let graph = model.graph();
        let roots = roots_of(&graph);
        let lost = |without: &[usize]| model.bytes(0..model.len()) - model.bytes(model.reachable(&roots, without));
        for number in 0..model.len() {
            let found = object(&graph, number);
            prop_assert_eq!(graph.dominators().retained_bytes(found), lost(&[number]));
            prop_assert_eq!(graph.retained(&[found]).bytes, lost(&[number]));
        }
        let set: Vec<usize> = set.into_iter().filter(|number| *number < model.len()).collect();
        let objects: Vec<_> = set.iter().map(|number| object(&graph, *number)).collect();
        prop_assert_eq!(graph.retained(&objects).bytes, lost(&set));
    }

    #[test]
    fn the_tree_holds_each_object_under_its_dominator(model in models(14)) {
        let graph = model.graph();
        let tree = graph.dominator_tree();
        let mut met = BTreeSet::new();
        for top in tree.tops() {
            prop_assert_eq!(graph.dominators().immediate(top), None);
            met.insert(top);
        }
        for above in graph.objects() {
            for child in tree.children(above) {
                prop_assert_eq!(graph.dominators().immediate(child), Some(above));
                met.insert(child);
            }
        }
        prop_assert_eq!(met.len(), graph.len());
    }

    #[test]
    fn shortest_paths(model in models(7), count in 1..6_usize) {
        let graph = model.graph();
        let shortest = ShortestPaths::new(&graph);
        for number in 0..model.len() {
            let tiers = paths_by_tier(&graph, &model, number);
            let all = graph.why(object(&graph, number), 10_000);
            let mut rest: &[Path] = &all;
            for expected in &tiers {
                let (found, others) = rest.split_at(expected.len().min(rest.len()));
                rest = others;
                prop_assert_eq!(&found.iter().map(|path| objects_on(&graph, path)).collect::<BTreeSet<_>>(), expected);
                prop_assert!(found.iter().map(|path| path.edges.len()).is_sorted());
            }
            prop_assert_eq!(rest.len(), 0);
            prop_assert!(!all.is_cut_short);
            let lengths = |paths: &[Path]| -> Vec<usize> { paths.iter().map(|path| path.edges.len()).collect() };
            let some = graph.why(object(&graph, number), count);
            prop_assert_eq!(lengths(&some), lengths(&all[..count.min(all.len())]));
            prop_assert!(all.iter().all(|path| path.end() == object(&graph, number)));
            let one = shortest.path(object(&graph, number));
            prop_assert_eq!(one.edges.len(), all[0].edges.len());
            prop_assert!(all.iter().any(|path| objects_on(&graph, path) == objects_on(&graph, &one)));
        }
    }

    #[test]
    fn cycles(model in models(12)) {
        let graph = model.graph();
        let cycles = graph.cycles();
        let numbers = |objects: &[memlens_heap::ObjectId]| -> Vec<usize> {
            let numbers: BTreeSet<usize> = objects.iter().map(|object| at(&graph, *object)).collect();
            numbers.into_iter().collect()
        };
        let found: BTreeSet<Vec<usize>> = cycles.iter().map(|cycle| numbers(&cycle.objects)).collect();
        prop_assert_eq!(found, components(&model));
        let live: Vec<usize> = live_roots(&graph).into_iter().collect();
        let alive = model.reachable(&live, &[]);
        for cycle in &cycles {
            let members = numbers(&cycle.objects);
            prop_assert_eq!(cycle.bytes, model.bytes(members.iter().copied()));
            prop_assert_eq!(cycle.is_unreachable, !alive.contains(&members[0]));
            prop_assert_eq!(cycle.is_unseen, members.iter().any(|member| model.types[*member] == 3));
            let (start, edges) = graph.way_round(cycle);
            prop_assert_eq!(edges.last().map(|edge| edge.to), Some(start));
            let mut from = start;
            for edge in &edges {
                prop_assert!(cycle.objects.contains(&edge.to));
                prop_assert!(graph.edges(from).any(|known| known == *edge));
                from = edge.to;
            }
        }
    }

    #[test]
    fn totals_by_type(model in models(14)) {
        let graph = model.graph();
        let dominators = dominators(&model, &roots_of(&graph));
        let retained = |number: usize| {
            let dominated = (0..model.len()).filter(|other| *other == number || dominators[*other].contains(&number));
            model.bytes(dominated)
        };
        let mut expected: BTreeMap<usize, (u64, u64, u64)> = BTreeMap::new();
        for (number, above) in dominators.iter().enumerate() {
            let row = expected.entry(model.types[number]).or_default();
            row.0 += 1;
            row.1 += model.sizes[number];
            let is_inner = above.iter().any(|above| model.types[*above] == model.types[number]);
            row.2 += if is_inner { 0 } else { retained(number) };
        }
        let found: BTreeMap<usize, (u64, u64, u64)> = graph.by_type().iter()
            .map(|row| (row.type_id.index(), (row.own.count, row.own.bytes, row.retained_bytes)))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_largest(model in models(14), count in 0..6_usize) {
        let graph = model.graph();
        let retained = |object: &memlens_heap::ObjectId| graph.dominators().retained_bytes(*object);
        let mut expected: Vec<u64> = graph.objects().map(|object| retained(&object)).collect();
        expected.sort_by_key(|bytes| std::cmp::Reverse(*bytes));
        expected.truncate(count);
        let found: Vec<u64> = graph.top(count).iter().map(retained).collect();
        prop_assert_eq!(found, expected);
    }

    /// The second model is the first with other sizes, types and references, and some objects gone or new.
    #[test]
    fn differences(before in models(10), after in models(10)) {
        let (old, new) = (before.graph(), after.graph());
        let diff = new.diff(&old);
        let same = |number: usize| {
            number < before.len() && number < after.len() && before.types[number] == after.types[number]
        };
        let added: BTreeSet<usize> = (0..after.len()).filter(|number| !same(*number)).collect();
        let gone: Vec<usize> = (0..before.len()).filter(|number| !same(*number)).collect();
        prop_assert_eq!((diff.new.count, diff.new.bytes), (added.len() as u64, after.bytes(added.iter().copied())));
        prop_assert_eq!((diff.gone.count, diff.gone.bytes), (gone.len() as u64, before.bytes(gone)));
        let grown: BTreeMap<usize, (u64, u64)> = (0..after.len())
            .filter(|number| same(*number) && after.sizes[*number] > before.sizes[*number])
            .map(|number| (number, (before.sizes[number], after.sizes[number])))
            .collect();
        let found: BTreeMap<usize, (u64, u64)> =
            diff.grown.iter().map(|row| (at(&new, row.object), (row.before_bytes, row.after_bytes))).collect();
        prop_assert_eq!(found, grown);
        let mut holders: BTreeMap<Option<usize>, u64> = BTreeMap::new();
        for number in &added {
            let mut above = new.dominators().above(object(&new, *number)).map(|above| at(&new, above));
            *holders.entry(above.find(|above| !added.contains(above))).or_default() += after.sizes[*number];
        }
        let found: BTreeMap<Option<usize>, u64> =
            diff.holders.iter().map(|row| (row.holder.map(|holder| at(&new, holder)), row.new.bytes)).collect();
        prop_assert_eq!(found, holders);
        for change in &diff.types {
            let type_ = model::TYPE_NAMES.iter().position(|name| format!("model.{name}") == change.name).unwrap();
            let of_type = |model: &Model| -> u64 {
                model.bytes((0..model.len()).filter(|number| model.types[*number] == type_))
            };
            prop_assert_eq!((change.before.bytes, change.after.bytes), (of_type(&before), of_type(&after)));
        }
    }

    #[test]
    fn reach_of_an_object(model in models(12), left_out in 0..12_usize) {
        let graph = model.graph();
        for number in (0..model.len()).filter(|number| *number != left_out) {
            let found = graph.reachable(object(&graph, number), |object| at(&graph, object) != left_out);
            let found: BTreeSet<usize> = found.iter().map(|object| at(&graph, *object)).collect();
            prop_assert_eq!(found, model.reachable(&[number], &[left_out]));
        }
    }
}
