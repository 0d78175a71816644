//! Files in good order, cut short, changed, hostile, and of every released version.
mod model;

use memlens_heap::{Error, Graph, HEAP_VERSION, HEAP_VERSIONS, load, read};
use model::{models, picture, rich};
use proptest::prelude::*;
use std::path::Path;

fn bytes_of(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.save(&mut bytes).unwrap();
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Graph, Error> {
    read(bytes, bytes.len() as u64, Path::new("x.mlheap"))
}

fn message(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

/// Equal in all that questions can see, and byte by byte once it is written again.
fn assert_same(found: &Graph, expected: &Graph) {
    assert_eq!(picture(found), picture(expected));
    assert_eq!(found.meta(), expected.meta());
    assert_eq!((found.roots(), found.facts()), (expected.roots(), expected.facts()));
    assert!(found.weak_references().eq(expected.weak_references()));
    assert_eq!(found.duplicates(), expected.duplicates());
    assert_eq!(bytes_of(found), bytes_of(expected));
}

#[test]
fn what_is_written_is_read() {
    let graph = rich();
    assert_same(&read_all(&bytes_of(&graph)).unwrap(), &graph);
    let empty = memlens_heap::HeapBuilder::new(Default::default()).finish().unwrap();
    assert_same(&read_all(&bytes_of(&empty)).unwrap(), &empty);
}

#[test]
fn a_file_of_version_1_is_read_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/heaps/v1");
    assert_eq!(picture(&load(&folder.join("rich.mlheap")).unwrap()), picture(&rich()));
}

#[test]
fn every_version_has_its_files() {
    assert_eq!(HEAP_VERSIONS.last().map(|(version, _)| *version), Some(HEAP_VERSION));
    for (version, _) in HEAP_VERSIONS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/heaps/v{version}"));
        assert!(folder.is_dir(), "{}", folder.display());
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let bytes = bytes_of(&rich());
    for length in 0..bytes.len() {
        let text = message(&bytes[..length]);
        assert!(!text.contains('\n'), "{text}");
        match length {
            0..8 => assert_eq!(text, "x.mlheap is not a memlens heap snapshot"),
            8..12 => assert_eq!(text, "x.mlheap is damaged: it is truncated within its first 12 bytes"),
            _ => assert!(
                text.starts_with("x.mlheap is damaged: the file ends too early (in the part at byte "),
                "{text}"
            ),
        }
    }
}

#[test]
fn any_changed_bit_is_found() {
    let bytes = bytes_of(&rich());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read_all(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

/// Where each chunk begins, by the lengths in their headers.
fn chunks(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut ranges = Vec::new();
    let mut at = 12;
    while at < bytes.len() {
        let length = 24 + number(at + 16).max(number(at + 12) / 32);
        ranges.push(at..at + length);
        at += length;
    }
    ranges
}

#[test]
fn a_lost_or_doubled_part_is_found() {
    let bytes = bytes_of(&rich());
    for range in chunks(&bytes) {
        let without = [&bytes[..range.start], &bytes[range.end..]].concat();
        assert!(read_all(&without).is_err(), "{range:?}");
        let doubled = [&bytes[..range.end], &bytes[range.start..]].concat();
        assert!(read_all(&doubled).is_err(), "{range:?}");
    }
}

/// A file whose checksums are right, made of the chunks that `change` leaves.
fn forged(bytes: &[u8], mut change: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut file = bytes[..12].to_vec();
    for (index, range) in chunks(bytes).into_iter().enumerate() {
        let mut chunk = bytes[range].to_vec();
        change(index, &mut chunk);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&chunk[..20]);
        hasher.update(&chunk[24..]);
        chunk[20..24].copy_from_slice(&hasher.finalize().to_le_bytes());
        file.extend(chunk);
    }
    file
}

/// Every byte of every chunk changed in every bit, the checksums made right: some graph or one line, no panic.
#[test]
fn a_forged_file_is_a_graph_or_an_error() {
    let bytes = bytes_of(&rich());
    let mut refused = 0;
    for (index, range) in chunks(&bytes).into_iter().enumerate() {
        for at in (0..range.len()).filter(|at| !(20..24).contains(at)) {
            for bit in 0..8 {
                let file = forged(&bytes, |number, chunk| {
                    if number == index {
                        chunk[at] ^= 1 << bit;
                    }
                });
                match read_all(&file) {
                    Ok(graph) => ask_everything(&graph),
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().contains('\n'));
                    }
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

fn ask_everything(graph: &Graph) {
    let _ = (graph.by_type(), graph.by_module(), graph.cycles(), graph.duplicates(), graph.sparse(), graph.suspects());
    for object in graph.top(3) {
        graph.why(object, 3).iter().for_each(|path| drop(graph.path_text(path)));
    }
    let _ = graph.diff(graph);
}

/// The bug that the padding prevents: chunks of equal values took 24 bytes and demanded half a megabyte.
#[test]
fn a_small_file_cannot_demand_a_large_allocation() {
    let bytes = bytes_of(&rich());
    let lengthened = forged(&bytes, |_, chunk| {
        let is_degrees = &chunk[..4] == b"DEGR";
        if is_degrees {
            chunk[12..16].copy_from_slice(&(1_u32 << 17).to_le_bytes());
        }
    });
    assert!(read_all(&lengthened).is_err());
    let mut model = model::Model::of_edges(200_001, &[]);
    model.edges = (1..200_001).map(|to| (0, to)).collect();
    let bytes = bytes_of(&model.graph());
    for range in chunks(&bytes) {
        let count = u32::from_le_bytes(bytes[range.start + 12..range.start + 16].try_into().unwrap());
        assert!(range.len() * 256 >= count as usize * 8, "{range:?}");
    }
}

#[test]
fn messages_are_one_line_and_name_the_file() {
    let bytes = bytes_of(&rich());
    assert_eq!(message(b"#!/usr/bin/python"), "x.mlheap is not a memlens heap snapshot");
    let mut newer = bytes.clone();
    newer[8] = 7;
    assert_eq!(
        message(&newer),
        "x.mlheap has heap format version 7, newer than this memlens can read (1): use a newer memlens"
    );
    newer[8] = 0;
    assert_eq!(message(&newer), "x.mlheap is damaged: it claims to have format version 0");
    let missing = load(Path::new("no/such.mlheap")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot open no/such.mlheap: No such file or directory");
    assert_eq!(load(Path::new(".")).unwrap_err().to_string(), "cannot open .: it is a folder");
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = rich().save(&mut Full).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the heap snapshot: No space left on device");
}

proptest! {
    #[test]
    fn any_graph_is_written_and_read(model in models(40)) {
        let graph = model.graph();
        assert_same(&read_all(&bytes_of(&graph)).unwrap(), &graph);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_all(&bytes).is_err());
        let file = [&bytes_of(&rich())[..12], &bytes].concat();
        prop_assert!(read_all(&file).is_err());
    }
}
