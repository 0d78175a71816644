//! Round trips, and bytes that are none of ours.
use super::*;
use crate::Allocator;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

fn payloads(capture: &Capture) -> Vec<(Section, Vec<u8>)> {
    Section::ALL.into_iter().map(|section| (section, encode_section(section, capture))).collect()
}

fn decode(payloads: &[(Section, Vec<u8>)]) -> Result<Capture, DecodeError> {
    let mut decoder = Decoder::new(1);
    for (section, payload) in payloads {
        decoder.section(*section, payload)?;
    }
    Ok(decoder.finish())
}

prop_compose! {
    fn meta()(
        command in prop::collection::vec(".{0,12}", 0..4),
        texts in prop::array::uniform5(".{0,12}"),
        numbers in prop::array::uniform12(any::<u64>()),
        code in any::<Option<i32>>(),
        signal in any::<Option<i32>>(),
        flags in any::<(bool, bool)>(),
        shortage in prop::option::of(shortage()),
        [pss_peak_bytes, shared_mapped_bytes] in any::<[u64; 2]>(),
    ) -> Meta {
        let [interpreter, python_version, memlens_version, working_directory, incomplete_reason] = texts;
        Meta {
            command,
            interpreter,
            python_version,
            memlens_version,
            working_directory,
            started_unix_ns: numbers[0],
            duration_ns: numbers[1],
            exit: Exit { code, signal, out_of_memory: flags.0 },
            complete: flags.1,
            incomplete_reason,
            peak_bytes: numbers[2],
            peak_time_ns: numbers[3],
            rss_peak_bytes: numbers[4],
            pss_peak_bytes,
            file_mapped_bytes: numbers[5],
            shared_mapped_bytes,
            unseen: Unseen {
                lost_events: numbers[6],
                lost_bytes: numbers[7],
                unreadable_stacks: numbers[8],
                unknown_releases: numbers[9],
                unrecorded_processes: numbers[10],
            },
            overhead_ns: numbers[11],
            shortage,
        }
    }
}

prop_compose! {
    fn shortage()(
        bound in ".{0,12}",
        numbers in any::<[u64; 5]>(),
        refused_stack in prop::collection::vec((".{0,6}", ".{0,6}", any::<u32>()), 0..3),
    ) -> Shortage {
        let [limit_bytes, killed, refused, refused_bytes, time_ns] = numbers;
        Shortage { bound, limit_bytes, killed, refused, refused_bytes, time_ns, refused_stack }
    }
}

prop_compose! {
    fn process()(
        ids in any::<(u32, u32)>(),
        command in prop::collection::vec(".{0,12}", 0..3),
        bytes in any::<(u64, u64)>(),
    ) -> Process {
        Process { pid: ids.0, parent_pid: ids.1, command, peak_bytes: bytes.0, rss_peak_bytes: bytes.1 }
    }
}

prop_compose! {
    fn site(processes: u32, nodes: u32)(
        process in 0..processes,
        node in prop::option::of(0..nodes),
        allocator in 0..Allocator::ALL.len() as u8,
        numbers in prop::array::uniform8(any::<u64>()),
    ) -> Site {
        Site {
            process,
            node: node.map(NodeId),
            allocator: Allocator::from_u8(allocator).unwrap(),
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
    fn release(processes: u32, nodes: u32)(
        process in 0..processes,
        node in prop::option::of(0..nodes),
        count in any::<u64>(),
        bytes in any::<u64>(),
        is_file in any::<bool>(),
    ) -> Release {
        Release { process, node: node.map(NodeId), count, bytes, is_file }
    }
}

prop_compose! {
    fn slice(sites: u32)(
        time_ns in any::<u64>(),
        changes in prop::collection::vec((0..sites, any::<(u64, u64, i64, i64)>()), 0..5),
    ) -> Slice {
        let change = |(site, (allocations, allocated_bytes, live_count, live_bytes))| Change {
            site: SiteId(site),
            allocations,
            allocated_bytes,
            live_count,
            live_bytes,
        };
        Slice { time_ns, changes: changes.into_iter().map(change).collect() }
    }
}

prop_compose! {
    fn point()(numbers in prop::array::uniform4(any::<u64>())) -> Point {
        Point { time_ns: numbers[0], live_bytes: numbers[1], rss_bytes: numbers[2], pss_bytes: numbers[3] }
    }
}

prop_compose! {
    fn capture()(
        meta in meta(),
        processes in prop::collection::vec(process(), 1..3),
        strings in prop::collection::vec(".{0,12}", 1..6),
        frames in prop::collection::vec(any::<(u8, u8, u32, u32)>(), 1..9),
        nodes in prop::collection::vec(any::<(Option<u8>, u8)>(), 1..12),
        sites in prop::collection::vec(site(1, 1), 1..9),
        releases in prop::collection::vec(release(1, 1), 0..9),
        slices in prop::collection::vec(slice(1), 0..4),
        timeline in prop::collection::vec(point(), 0..6),
        regions in prop::collection::vec((".{0,12}", (any::<u64>(), prop::option::of(0..u64::MAX))), 0..3),
    ) -> Capture {
        let string = |id: u8| StringId(u32::from(id) % strings.len() as u32);
        let frames: Vec<Frame> = frames.iter().map(|&(function, file, line, first_line)| Frame {
            function: string(function), file: string(file), line, first_line,
        }).collect();
        let nodes = nodes.iter().enumerate().map(|(index, (parent, frame))| Node {
            parent: parent.filter(|_| index > 0).map(|parent| NodeId(u32::from(parent) % index as u32)),
            frame: FrameId(u32::from(*frame) % frames.len() as u32),
        }).collect();
        let region = |(library, (mapped_bytes, resident_bytes))| Region { process: 0, library, mapped_bytes, resident_bytes };
        let regions = regions.into_iter().map(region).collect();
        Capture { meta, processes, strings, frames, nodes, sites, releases, slices, timeline, regions }
    }
}

/// The same capture with its ids spread over the tables (a strategy cannot look at what another one made).
fn spread(mut capture: Capture) -> Capture {
    let (processes, nodes) = (capture.processes.len() as u32, capture.nodes.len() as u32);
    for (index, site) in capture.sites.iter_mut().enumerate() {
        site.process = index as u32 % processes;
        site.node = site.node.map(|_| NodeId((index as u32 * 7) % nodes));
    }
    for (index, release) in capture.releases.iter_mut().enumerate() {
        release.process = index as u32 % processes;
        release.node = release.node.map(|_| NodeId((index as u32 * 5) % nodes));
    }
    let sites = capture.sites.len() as u32;
    for slice in &mut capture.slices {
        for (index, change) in slice.changes.iter_mut().enumerate() {
            change.site = SiteId((index as u32 * 3) % sites);
        }
    }
    capture
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(capture in capture()) {
        let capture = spread(capture);
        prop_assert_eq!(decode(&payloads(&capture)), Ok(capture));
    }

    #[test]
    fn any_bytes_decode_without_a_panic(
        section in 0usize..11,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        capture in capture(),
    ) {
        let section = Section::ALL[section];
        let mut decoder = Decoder::new(1);
        for (earlier, payload) in payloads(&spread(capture)) {
            if earlier == section {
                break;
            }
            prop_assert_eq!(decoder.section(earlier, &payload), Ok(()));
        }
        let _ = decoder.section(section, &bytes);
    }

    #[test]
    fn a_changed_byte_never_panics(capture in capture(), at in any::<prop::sample::Index>(), mask in 1u8..) {
        for (section, payload) in payloads(&spread(capture.clone())) {
            let mut changed = payload.clone();
            if !changed.is_empty() {
                changed[at.index(payload.len())] ^= mask;
            }
            let mut decoder = Decoder::new(1);
            for (earlier, payload) in payloads(&spread(capture.clone())) {
                let payload = if earlier == section { &changed } else { &payload };
                let _ = decoder.section(earlier, payload);
            }
        }
    }

    #[test]
    fn varints_come_back(value in any::<u64>(), signed in any::<i64>()) {
        let mut out = varint::PayloadWriter::default();
        out.u64(value);
        out.i64(signed);
        let bytes = out.finish();
        let mut reader = varint::PayloadReader::new(&bytes);
        prop_assert_eq!(reader.u64(), Ok(value));
        prop_assert_eq!(reader.i64(), Ok(signed));
        prop_assert_eq!(reader.remaining(), 0);
    }
}

fn error_of(earlier: &[(Section, &[u8])], section: Section, payload: &[u8]) -> DecodeErrorKind {
    let mut decoder = Decoder::new(1);
    for (section, payload) in earlier {
        decoder.section(*section, payload).unwrap();
    }
    decoder.section(section, payload).unwrap_err().kind
}

const ONE_STRING: (Section, &[u8]) = (Section::Strings, &[3, 3, b'f']);
const ONE_FRAME: (Section, &[u8]) = (Section::Frames, &[3, 1, 1, 7, 9]);

#[test]
fn a_count_beyond_the_payload_is_refused_before_anything_is_allocated() {
    let huge = [0xf0, 0xff, 0xff, 0xff, 0xff];
    for section in [Section::Processes, Section::Strings, Section::Timeline] {
        assert_eq!(error_of(&[], section, &huge), DecodeErrorKind::TooMany, "{section:?}");
    }
    assert_eq!(error_of(&[ONE_STRING], Section::Frames, &huge), DecodeErrorKind::TooMany);
    assert_eq!(error_of(&[ONE_STRING, ONE_FRAME], Section::Nodes, &huge), DecodeErrorKind::TooMany);
}

#[test]
fn an_id_out_of_range_is_refused() {
    let frame_without_a_string = error_of(&[ONE_STRING], Section::Frames, &[3, 3, 1, 7, 9]);
    assert_eq!(frame_without_a_string, DecodeErrorKind::OutOfRange("function name"));
    let node_that_is_its_own_ancestor = error_of(&[ONE_STRING, ONE_FRAME], Section::Nodes, &[5, 1, 5, 1, 1]);
    assert_eq!(node_that_is_its_own_ancestor, DecodeErrorKind::OutOfRange("parent node"));
}

#[test]
fn a_section_needs_those_that_it_points_into() {
    assert_eq!(error_of(&[], Section::Nodes, &[1]), DecodeErrorKind::Needs(Section::Frames));
    assert_eq!(error_of(&[ONE_STRING], Section::Strings, &[1]), DecodeErrorKind::Repeated);
    assert_eq!(error_of(&[], Section::Strings, &[1, 1]), DecodeErrorKind::TrailingBytes);
    assert_eq!(error_of(&[], Section::Strings, &[3, 3, 0xff]), DecodeErrorKind::NotUtf8);
}

#[test]
fn an_error_says_what_and_where() {
    let error = Decoder::new(1).section(Section::Strings, &[3, 19, b'x']).unwrap_err();
    assert_eq!(error.to_string(), "section strings, byte 2: it ends too early");
}

#[test]
fn the_bytes_of_a_table_are_the_documented_ones() {
    let nodes = vec![
        Node { parent: None, frame: FrameId(0) },
        Node { parent: Some(NodeId(0)), frame: FrameId(2) },
        Node { parent: Some(NodeId(0)), frame: FrameId(1) },
    ];
    let capture = Capture { nodes, ..Capture::default() };
    assert_eq!(encode_section(Section::Nodes, &capture), [7, 1, 3, 5, 1, 9, 3]);
}
