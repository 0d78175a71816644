//! Tests of what becomes of shared tables, well-formed and not.
use crate::assembly::Assembler;
use crate::fake_tables::{FakeTables, Figures};
use crate::peak::Peak;
use crate::slice_log::{RawChange, RawSlice};
use memlens_format::Allocator;
use memlens_format::capture::{Capture, FrameId, NodeId};
use memlens_format::shared::{Header, SITE_KIND_RELEASE, SITE_KIND_RELEASE_FILE};
use proptest::prelude::*;
use std::mem::offset_of;

fn assemble(tables: &FakeTables, slices: Vec<RawSlice>) -> (Capture, u64) {
    let view = tables.view();
    let mut assembler = Assembler::new();
    let damage = assembler.add(0, &view, Peak::of(&view).0, |_, _| {});
    (assembler.finish(slices, &[Some(0)]), damage)
}

fn live(count: u64, bytes: i64) -> Figures {
    Figures { count, bytes: bytes.unsigned_abs(), live: (count as i32, bytes), ..Figures::default() }
}

#[test]
fn equal_lines_merge_and_silent_sites_go() {
    let mut tables = FakeTables::new();
    let lane = tables.lane();
    let main = tables.code("<module>", "/x.py", 1);
    let first = tables.code("f", "/x.py", 5);
    let again = tables.code("f", "/x.py", 5);
    let root = tables.node(0, main, 10);
    let one = tables.node(root, first, 6);
    let two = tables.node(root, again, 6);
    let unused = tables.node(root, again, 99);
    let sites = [one, two, unused].map(|node| tables.site(node, Allocator::Malloc as u32));
    let release = tables.site(two, SITE_KIND_RELEASE);
    let unmapped = tables.site(0, SITE_KIND_RELEASE_FILE);
    tables.counters(lane, sites[0], live(1, 100));
    tables.counters(lane, sites[1], live(2, 30));
    tables.counters(lane, release, Figures { count: 4, bytes: 44, ..Figures::default() });
    tables.counters(lane, unmapped, Figures { count: 1, bytes: 4096, ..Figures::default() });

    let change =
        |site| RawChange { session: 0, site, allocations: 1, allocated_bytes: 10, live_count: -1, live_bytes: 5 };
    let slice = RawSlice { time_ns: 7, changes: vec![change(sites[0]), change(sites[1]), change(release)] };
    let (found, damage) = assemble(&tables, vec![slice]);

    assert_eq!(damage, 0);
    assert_eq!(found.nodes.len(), 2);
    assert_eq!((found.nodes[0].parent, found.nodes[1].parent), (None, Some(NodeId(0))));
    assert_eq!(found.frames[1].line, 6);
    assert_eq!(found.strings[found.frames[1].function.0 as usize], "f");
    assert_eq!(found.nodes[1].frame, FrameId(1));
    assert_eq!(found.sites.len(), 1);
    let site = found.sites[0];
    assert_eq!((site.allocations, site.allocated_bytes, site.live_bytes), (3, 130, 130));
    assert_eq!((site.peak_count, site.peak_bytes, site.node), (3, 130, Some(NodeId(1))));
    let releases: Vec<_> = found.releases.iter().map(|at| (at.node, at.count, at.bytes, at.is_file)).collect();
    assert_eq!(releases, [(Some(NodeId(1)), 4, 44, false), (None, 1, 4096, true)]);
    let changes = &found.slices[0].changes;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].allocations, changes[0].live_count, changes[0].live_bytes), (2, -2, 10));
}

/// Tables in which `f` is defined twice and calls `g`, each definition of its own.
fn twins() -> FakeTables {
    let mut tables = FakeTables::new();
    let lane = tables.lane();
    let main = tables.code("<module>", "/x.py", 1);
    let twins = [tables.code("f", "/x.py", 5), tables.code("f", "/x.py", 5)];
    let called = tables.code("g", "/x.py", 8);
    let root = tables.node(0, main, 10);
    for (index, twin) in (1..).zip(twins) {
        let node = tables.node(root, twin, 6);
        let node = tables.node(node, called, 9);
        let site = tables.site(node, Allocator::Malloc as u32);
        tables.counters(lane, site, live(index, 100));
    }
    tables
}

#[test]
fn what_is_called_by_twins_merges_and_processes_share_their_nodes() {
    let (first, second) = (twins(), twins());
    let mut assembler = Assembler::new();
    for (session, tables) in (0..).zip([&first, &second]) {
        let view = tables.view();
        assert_eq!(assembler.add(session, &view, Peak::of(&view).0, |_, _| {}), 0);
    }
    let found = assembler.finish(Vec::new(), &[Some(0), Some(1)]);
    let parents: Vec<_> = found.nodes.iter().map(|node| node.parent).collect();
    assert_eq!(parents, [None, Some(NodeId(0)), Some(NodeId(1))]);
    let sites: Vec<_> = found.sites.iter().map(|site| (site.process, site.node, site.allocations)).collect();
    assert_eq!(sites, [(0, Some(NodeId(2)), 3), (1, Some(NodeId(2)), 3)]);
}

#[test]
fn a_session_that_is_left_out_takes_its_sites_and_changes_along() {
    let mut tables = FakeTables::new();
    let lane = tables.lane();
    let sites = [Allocator::Malloc, Allocator::Mmap].map(|allocator| tables.site(0, allocator as u32));
    for site in sites {
        tables.counters(lane, site, live(1, 100));
    }
    let view = tables.view();
    let mut assembler = Assembler::new();
    for session in 0..3 {
        assembler.add(session, &view, Peak::of(&view).0, |_, _| {});
    }
    let change = |session| RawChange {
        session,
        site: sites[1],
        allocations: 10 + u64::from(session),
        allocated_bytes: 0,
        live_count: 0,
        live_bytes: 0,
    };
    let slice = RawSlice { time_ns: 7, changes: (0..3).map(change).collect() };
    // The order of processes need not be that of sessions.
    let found = assembler.finish(vec![slice], &[Some(1), None, Some(0)]);
    let processes: Vec<_> = found.sites.iter().map(|site| site.process).collect();
    assert_eq!(processes, [1, 1, 0, 0]);
    let changes = found.slices[0].changes.iter().map(|change| {
        let site = found.sites[change.site.0 as usize];
        (site.process, site.allocator, change.allocations)
    });
    assert_eq!(changes.collect::<Vec<_>>(), [(1, Allocator::Mmap, 10), (0, Allocator::Mmap, 12)]);
}

#[test]
fn a_peak_that_was_left_is_saved_by_whoever_touched_the_site_since() {
    let mut tables = FakeTables::new();
    let lanes = [tables.lane(), tables.lane()];
    let site = tables.site(0, Allocator::Malloc as u32);
    // Lane 0 has touched the site since the peak and saved 500; lane 1 has not: what it has now is what it had then.
    let touched = Figures { live: (1, 10), peak: (5, 500), epoch: 3, ..live(9, 900) };
    let untouched = Figures { live: (2, 70), peak: (8, 800), epoch: 2, ..live(2, 70) };
    tables.counters(lanes[0], site, touched);
    tables.counters(lanes[1], site, untouched);
    tables.peak(3, 570, 42);
    let view = tables.view();
    assert_eq!(Peak::of(&view), (Peak::Left { epoch: 3 }, 570));
    let (found, _) = assemble(&tables, Vec::new());
    assert_eq!((found.sites[0].peak_count, found.sites[0].peak_bytes), (7, 570));
    assert_eq!((found.sites[0].live_count, found.sites[0].live_bytes), (3, 80));
}

#[test]
fn a_peak_that_still_stands_is_what_lives_now() {
    let mut tables = FakeTables::new();
    let lanes = [tables.lane(), tables.lane()];
    let sites = [0, 1].map(|kind| tables.site(0, kind));
    tables.counters(lanes[0], sites[0], Figures { peak: (9, 9), epoch: 4, ..live(4, 400) });
    // A block of lane 0 that lane 1 released, and more than that: the sum is clamped, as the site's is.
    tables.counters(lanes[1], sites[0], Figures { count: 0, bytes: 0, live: (-1, -100), ..Figures::default() });
    tables.counters(lanes[1], sites[1], Figures { count: 1, bytes: 8, live: (-1, -8), ..Figures::default() });
    tables.peak(4, 292, 42);
    let view = tables.view();
    assert_eq!(Peak::of(&view), (Peak::Now, 292));
    let (found, _) = assemble(&tables, Vec::new());
    assert_eq!((found.sites[0].peak_count, found.sites[0].peak_bytes), (3, 300));
    assert_eq!((found.sites[1].live_count, found.sites[1].live_bytes), (0, 0));
}

#[test]
fn references_that_lead_nowhere_are_counted() {
    let mut tables = FakeTables::new();
    let lane = tables.lane();
    let code = tables.code("f", "/x.py", 1);
    let child_of_nobody = tables.node(4_000_000, code, 2);
    let codeless = tables.node(0, 77, 3);
    let sites = [child_of_nobody, codeless, 12_345].map(|node| tables.site(node, 0));
    let unknown_kind = tables.site(0, 200);
    for site in sites.into_iter().chain([unknown_kind]) {
        tables.counters(lane, site, live(1, 1));
    }
    let (found, damage) = assemble(&tables, Vec::new());
    assert_eq!(damage, 4);
    assert_eq!(found.sites.len(), 3);
    assert_eq!(found.sites[2].node, None);
    assert_eq!(found.strings[found.frames[1].function.0 as usize], "<unknown>");
}

/// Tables with a few of everything.
fn some_tables() -> FakeTables {
    let mut tables = FakeTables::new();
    let lanes = [tables.lane(), tables.lane()];
    let codes = ["a", "b", "c"].map(|name| tables.code(name, "/x.py", 3));
    let mut node = 0;
    for line in 0..20u32 {
        node = tables.node(node, codes[line as usize % 3], line);
        let site = tables.site(node, line % 17);
        tables.counters(lanes[line as usize % 2], site, live(u64::from(line), 9));
    }
    tables
}

/// The bug: each lane's counters of all sites came into being as they were read, 64 bytes for each lane and site.
#[test]
fn reading_a_lane_that_touched_few_sites_makes_no_memory() {
    let mut tables = FakeTables::new();
    let lanes = [tables.lane(), tables.lane()];
    let sites: Vec<u32> = (0..3000).map(|_| tables.site(0, Allocator::Malloc as u32)).collect();
    for &site in &sites {
        tables.counters(lanes[0], site, live(1, 100));
    }
    // In the second lane the last site of a page, the first of the next, and one some pages on.
    for place in [62, 63, 700, 2999] {
        tables.counters(lanes[1], sites[place], live(1, 10));
    }
    let view = tables.view();
    let before = view.file().resident_bytes();
    let mut found = Vec::new();
    let damage =
        Assembler::new().add(0, &view, Peak::of(&view).0, |site, totals| found.push((site, totals.live_bytes)));
    assert_eq!(damage, 0);
    assert_eq!(view.file().resident_bytes(), before);
    assert_eq!(found.len(), 3000);
    let both: Vec<usize> = (0..3000).filter(|&place| found[place] == (sites[place] as usize, 110)).collect();
    assert_eq!(both, [62, 63, 700, 2999]);
    assert_eq!(found.iter().filter(|(_, bytes)| *bytes == 100).count(), 2996);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The recorded program may write anything anywhere in the shared memory.
    #[test]
    fn no_scribble_makes_it_crash(
        header in prop::collection::vec((0..size_of::<Header>() as u64 / 8, any::<u64>()), 0..20),
        directories in prop::collection::vec(0..4usize, 0..4),
        anywhere in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..200),
    ) {
        let tables = some_tables();
        let used = tables.used_bytes();
        for (at, value) in header {
            tables.put_u64(at * 8, value);
        }
        for directory in directories {
            let first = [
                offset_of!(Header, node_chunks), offset_of!(Header, site_chunks),
                offset_of!(Header, code_chunks), offset_of!(Header, lanes),
            ][directory];
            tables.put_u64(first as u64, (1 << 40) - 64);
        }
        for (at, value) in anywhere {
            tables.put_u64(at.index(used as usize / 8) as u64 * 8, value);
        }
        let (found, _) = assemble(&tables, Vec::new());
        for (index, node) in found.nodes.iter().enumerate() {
            prop_assert!(node.parent.is_none_or(|parent| (parent.0 as usize) < index));
            prop_assert!((node.frame.0 as usize) < found.frames.len());
        }
    }
}
