//! The analysis against a slow and simple reference that follows each stack of each site on its own.
use memlens_analysis::{
    Allocator, CallTree, Capture, Figures, LineQuery, Lines, Measure, Meta, NodeId, Process, Profile, Release, Scope,
    Site, Summary,
};
use memlens_format::capture::{Frame, FrameId, Node, StringId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// (function, file, line, first line) by name: what a frame is, whatever its ids.
type Place = (String, String, u32, u32);

prop_compose! {
    fn site()(
        process in 0u32..2,
        node in prop::option::of(any::<u8>()),
        allocator in prop::sample::select(vec![Allocator::Malloc, Allocator::Pyobject, Allocator::MmapFile]),
        numbers in prop::array::uniform8(0u64..1000),
    ) -> Site {
        Site {
            process,
            node: node.map(|node| NodeId(u32::from(node))),
            allocator,
            allocations: numbers[0],
            allocated_bytes: numbers[1],
            live_count: numbers[2],
            live_bytes: numbers[3],
            peak_count: numbers[4],
            peak_bytes: numbers[5],
            temporary_count: numbers[6],
            temporary_bytes: numbers[7],
        }
    }
}

prop_compose! {
    fn release()(
        process in 0u32..2,
        node in prop::option::of(any::<u8>()),
        numbers in any::<(u8, u8)>(),
        is_file in any::<bool>(),
    ) -> Release {
        let node = node.map(|node| NodeId(u32::from(node)));
        Release { process, node, count: numbers.0.into(), bytes: numbers.1.into(), is_file }
    }
}

prop_compose! {
    /// Few names and lines, so that recursions and equal stacks with different ids are frequent.
    fn capture()(
        frames in prop::collection::vec((0u32..3, 3u32..6, 1u32..3), 1..8),
        nodes in prop::collection::vec((any::<Option<u8>>(), any::<u8>()), 1..24),
        mut sites in prop::collection::vec(site(), 0..16),
        mut releases in prop::collection::vec(release(), 0..16),
    ) -> Capture {
        let strings = ["f", "g", "f", "/app/a.py", "/app/b.py", "/usr/lib/python3.12/json/c.py"];
        let frame = |(function, file, line)| Frame {
            function: StringId(function), file: StringId(file), line, first_line: 1,
        };
        let frames: Vec<Frame> = frames.into_iter().map(frame).collect();
        let nodes: Vec<Node> = nodes.into_iter().enumerate().map(|(index, (parent, frame))| Node {
            parent: parent.filter(|_| index > 0).map(|parent| NodeId(u32::from(parent) % index as u32)),
            frame: FrameId(u32::from(frame) % frames.len() as u32),
        }).collect();
        let renumber = |node: &mut Option<NodeId>| if let Some(node) = node { node.0 %= nodes.len() as u32 };
        sites.iter_mut().for_each(|site| renumber(&mut site.node));
        releases.iter_mut().for_each(|release| renumber(&mut release.node));
        Capture {
            meta: Meta::default(),
            processes: vec![Process::default(), Process::default()],
            strings: strings.map(str::to_owned).to_vec(),
            frames, nodes, sites, releases,
            ..Capture::default()
        }
    }
}

/// A stack, innermost first.
fn stack(capture: &Capture, node: Option<NodeId>) -> Vec<Place> {
    let string = |id: StringId| capture.strings[id.0 as usize].clone();
    let mut stack = Vec::new();
    let mut next = node;
    while let Some(node) = next {
        let node = capture.nodes[node.0 as usize];
        let frame = capture.frames[node.frame.0 as usize];
        stack.push((string(frame.function), string(frame.file), frame.line, frame.first_line));
        next = node.parent;
    }
    stack
}

/// What happened on the heap, as (stack, figures).
fn events(capture: &Capture) -> Vec<(Vec<Place>, Figures)> {
    let sites = capture.sites.iter().filter(|site| site.allocator.is_heap()).map(|site| {
        let figures = Figures {
            allocated_bytes: site.allocated_bytes,
            peak_bytes: site.peak_bytes,
            allocations: site.allocations,
            temporary_bytes: site.temporary_bytes,
            ..Figures::default()
        };
        (stack(capture, site.node), figures)
    });
    let releases = capture.releases.iter().filter(|release| !release.is_file).map(|release| {
        let figures = Figures { freed_bytes: release.bytes, frees: release.count, ..Figures::default() };
        (stack(capture, release.node), figures)
    });
    sites.chain(releases).collect()
}

/// Inclusive figures by whatever `key` makes of a place, each byte once a key.
fn inclusive<Key: Ord>(capture: &Capture, key: impl Fn(&Place) -> Key) -> BTreeMap<Key, Figures> {
    let mut sums: BTreeMap<Key, Figures> = BTreeMap::new();
    for (stack, figures) in events(capture) {
        for key in stack.iter().map(&key).collect::<BTreeSet<Key>>() {
            sums.entry(key).or_default().add(&figures);
        }
    }
    sums.retain(|_, figures| !figures.is_empty());
    sums
}

fn own(capture: &Capture) -> BTreeMap<Place, Figures> {
    let mut sums: BTreeMap<Place, Figures> = BTreeMap::new();
    for (stack, figures) in events(capture) {
        if let Some(innermost) = stack.into_iter().next() {
            sums.entry(innermost).or_default().add(&figures);
        }
    }
    sums
}

fn is_own(place: &Place) -> bool {
    place.1.starts_with("/app/")
}

proptest! {
    #[test]
    fn lines_agree(capture in capture()) {
        let profile = Profile::new(capture.clone());
        let lines = Lines::new(&profile, &LineQuery { scope: Scope::All, ..LineQuery::default() });
        let own = own(&capture);
        let mut by_line = BTreeMap::new();
        let mut by_function = BTreeMap::new();
        let mut by_file = BTreeMap::new();
        for file in &lines.files {
            let path = profile.files()[file.file.0 as usize].path.clone();
            prop_assert!(by_file.insert(path.clone(), file.figures).is_none());
            for function in &file.functions {
                let row = &profile.functions()[function.function.0 as usize];
                by_function.insert((row.name.clone(), path.clone()), function.figures);
                for line in &function.lines {
                    let place = (row.name.clone(), path.clone(), line.line, row.line);
                    prop_assert_eq!(line.own, own.get(&place).copied().unwrap_or_default());
                    prop_assert!(by_line.insert(place, line.inclusive).is_none());
                }
            }
        }
        prop_assert_eq!(by_line, inclusive(&capture, Place::clone));
        prop_assert_eq!(by_function, inclusive(&capture, |place| (place.0.clone(), place.1.clone())));
        prop_assert_eq!(by_file, inclusive(&capture, |place| place.1.clone()));
    }

    #[test]
    fn nothing_is_left_out(capture in capture()) {
        let profile = Profile::new(capture.clone());
        let lines = Lines::new(&profile, &LineQuery::default());
        let (mut total, mut elsewhere) = (Figures::default(), Figures::default());
        for (stack, figures) in events(&capture) {
            total.add(&figures);
            if !stack.iter().any(is_own) {
                elsewhere.add(&figures);
            }
        }
        prop_assert_eq!(lines.total, total);
        prop_assert_eq!(lines.elsewhere, elsewhere);
        for file in &lines.files {
            prop_assert!(profile.files()[file.file.0 as usize].path.starts_with("/app/"));
        }
    }

    #[test]
    fn the_summary_agrees(capture in capture()) {
        let profile = Profile::new(capture.clone());
        let summary = Summary::new(&profile);
        let mut sites: BTreeMap<(Vec<Place>, Allocator), (u64, u64)> = BTreeMap::new();
        let mut own_lines: BTreeMap<Option<Place>, (u64, u64)> = BTreeMap::new();
        for site in capture.sites.iter().filter(|site| site.allocator.is_heap()) {
            let stack = stack(&capture, site.node);
            let owner = stack.iter().find(|place| is_own(place)).cloned();
            for sum in [sites.entry((stack, site.allocator)).or_default(), own_lines.entry(owner).or_default()] {
                *sum = (sum.0 + site.peak_bytes, sum.1 + site.peak_count);
            }
        }
        sites.retain(|_, sum| *sum != (0, 0));
        own_lines.retain(|_, sum| sum.0 > 0);
        let place = |line| {
            let function = profile.function(line);
            (function.name.clone(), profile.file(line).path.clone(), profile.line_number(line), function.line)
        };
        let got_sites: BTreeMap<_, _> = summary.sites.iter().map(|site| {
            ((profile.stack(site.node).map(place).collect(), site.allocator), (site.bytes, site.count))
        }).collect();
        let got_lines: BTreeMap<_, _> =
            summary.own_lines.iter().map(|share| (share.line.map(place), (share.bytes, share.count))).collect();
        prop_assert_eq!(got_sites.len(), summary.sites.len());
        prop_assert!(summary.sites.is_sorted_by(|one, next| one.bytes >= next.bytes));
        prop_assert_eq!(got_sites, sites);
        prop_assert_eq!(got_lines, own_lines);
        let heap = || capture.sites.iter().filter(|site| site.allocator.is_heap());
        prop_assert_eq!(summary.end_bytes, heap().map(|site| site.live_bytes).sum::<u64>());
        prop_assert_eq!(summary.allocations, heap().map(|site| site.allocations).sum::<u64>());
    }

    #[test]
    fn tree_and_stacks_agree(capture in capture()) {
        let profile = Profile::new(capture.clone());
        let mut prefixes: BTreeMap<Vec<Place>, (u64, u64)> = BTreeMap::new();
        let mut stacks: BTreeMap<Vec<Place>, u64> = BTreeMap::new();
        for site in capture.sites.iter().filter(|site| site.allocator.is_heap()) {
            let mut stack = stack(&capture, site.node);
            *stacks.entry(stack.clone()).or_default() += site.peak_bytes;
            while !stack.is_empty() {
                let sum = prefixes.entry(stack.clone()).or_default();
                *sum = (sum.0 + site.peak_bytes, sum.1 + site.peak_count);
                stack.remove(0);
            }
        }
        prefixes.retain(|_, sum| sum.0 > 0);
        stacks.retain(|_, bytes| *bytes > 0);
        let place = |line| {
            let function = profile.function(line);
            (function.name.clone(), profile.file(line).path.clone(), profile.line_number(line), function.line)
        };
        let tree = CallTree::new(&profile);
        let path = |index: usize| {
            let mut path = Vec::new();
            let mut next = Some(index);
            while let Some(index) = next {
                path.push(place(tree.nodes[index].line));
                next = tree.nodes[index].parent;
            }
            path
        };
        let got: BTreeMap<_, _> =
            tree.nodes.iter().enumerate().map(|(index, node)| (path(index), (node.bytes, node.count))).collect();
        prop_assert_eq!(got.len(), tree.nodes.len());
        prop_assert_eq!(got, prefixes);
        let got: BTreeMap<Vec<Place>, u64> = profile.stacks(Measure::Peak).into_iter()
            .map(|stack| (profile.stack(stack.node).map(place).collect(), stack.bytes)).collect();
        prop_assert_eq!(got, stacks);
    }
}

#[test]
fn a_stack_as_deep_as_the_tree_is_no_trouble() {
    let depth = 300_000u32;
    let node = |index: u32| Node { parent: index.checked_sub(1).map(NodeId), frame: FrameId(0) };
    let site = Site {
        process: 0,
        node: Some(NodeId(depth - 1)),
        allocator: Allocator::Malloc,
        allocations: 1,
        allocated_bytes: 10,
        live_count: 0,
        live_bytes: 0,
        peak_count: 1,
        peak_bytes: 10,
        temporary_count: 0,
        temporary_bytes: 0,
    };
    let profile = Profile::new(Capture {
        processes: vec![Process::default()],
        strings: vec!["f".to_owned(), "/a.py".to_owned()],
        frames: vec![Frame { function: StringId(0), file: StringId(1), line: 2, first_line: 1 }],
        nodes: (0..depth).map(node).collect(),
        sites: vec![site],
        ..Capture::default()
    });
    let lines = Lines::new(&profile, &LineQuery::default());
    assert_eq!(lines.files[0].functions[0].lines[0].inclusive.allocated_bytes, 10);
    assert_eq!(CallTree::new(&profile).nodes.len(), depth as usize);
}
