//! Files in good order, cut short, changed, hostile, and of every released version.
mod fixture;

use memlens_capture::{Error, Opened, Parts, Section, Writer, open, read, write_to};
use memlens_format::capture::container::{
    CAPTURE_VERSION, CAPTURE_VERSIONS, Compression, StoredSections, file_header, section_header,
};
use memlens_format::capture::{Capture, Meta};
use proptest::prelude::*;
use std::path::Path;

fn bytes_of(capture: &Capture) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = write_to(&mut bytes, capture).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Opened, Error> {
    read(bytes, Path::new("x.mlens"), Parts::All)
}

fn message(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

/// Where each section of a file ends.
fn ends(bytes: &[u8]) -> Vec<(Section, usize)> {
    StoredSections::new(bytes)
        .map(|section| {
            let section = section.unwrap();
            (section.section().unwrap(), section.offset() + 28 + section.stored().len())
        })
        .collect()
}

#[test]
fn what_is_written_is_read() {
    for capture in [fixture::job(), fixture::processes(), Capture::default()] {
        let opened = read_all(&bytes_of(&capture)).unwrap();
        assert_eq!(opened, Opened { capture, damage: None });
    }
}

#[test]
fn what_is_large_is_compressed() {
    for (count, is_compressed) in [(50, false), (100_000, true)] {
        let strings = (0..count).map(|number| format!("function_{number}")).collect();
        let capture = Capture { strings, ..Capture::default() };
        let bytes = bytes_of(&capture);
        let sections = StoredSections::new(&bytes).map(Result::unwrap);
        let any = sections.map(|section| section.compression()).any(|how| how == Some(Compression::Zstd));
        assert_eq!(any, is_compressed, "{count} strings");
        assert_eq!(read_all(&bytes).unwrap(), Opened { capture, damage: None });
    }
}

#[test]
fn tables_that_were_made_before_are_written_as_they_are() {
    let whole = fixture::job();
    let tables = Capture { meta: Meta::default(), processes: Vec::new(), timeline: Vec::new(), ..whole.clone() };
    let mut bytes = Vec::new();
    let mut writer = Writer::default();
    writer.prepare_tables(&tables).unwrap();
    writer.write_to(&mut bytes, &Capture { sites: Vec::new(), strings: Vec::new(), ..whole.clone() }).unwrap();
    assert_eq!(bytes, bytes_of(&whole));
}

#[test]
fn slices_can_be_left_out() {
    let mut capture = fixture::job();
    let opened = read(&bytes_of(&capture), Path::new("x.mlens"), Parts::WithoutSlices).unwrap();
    capture.slices.clear();
    assert_eq!(opened, Opened { capture, damage: None });
}

#[test]
fn a_file_of_version_1_is_read_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures/v1");
    for (name, capture) in [("job.mlens", fixture::job()), ("processes.mlens", fixture::processes())] {
        let opened = open(&folder.join(name)).unwrap();
        assert_eq!(opened, Opened { capture, damage: None }, "{name}");
    }
}

#[test]
fn every_version_has_its_captures() {
    assert_eq!(CAPTURE_VERSIONS.last().map(|(version, _)| *version), Some(CAPTURE_VERSION));
    for (version, _) in CAPTURE_VERSIONS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/captures/v{version}"));
        assert!(folder.is_dir(), "{}", folder.display());
    }
}

#[test]
fn a_truncated_file_keeps_what_precedes() {
    let capture = fixture::job();
    let bytes = bytes_of(&capture);
    let ends = ends(&bytes);
    for length in 0..bytes.len() {
        let result = read_all(&bytes[..length]);
        let whole: Vec<Section> = ends.iter().filter(|(_, end)| *end <= length).map(|(section, _)| *section).collect();
        if length < 8 {
            assert!(matches!(result, Err(Error::NotACapture { .. })), "{length}");
        } else if whole.is_empty() {
            assert!(matches!(result, Err(Error::Damaged { .. })), "{length}");
        } else {
            let opened = result.unwrap();
            let damage = opened.damage.unwrap();
            assert!(damage.truncated);
            let expected = Section::ALL.get(whole.len()..9).unwrap_or_default();
            assert_eq!(damage.missing, expected, "{length}");
            assert_eq!(opened.capture.meta, capture.meta);
            let has = |section| whole.contains(&section);
            assert_eq!(opened.capture.sites.len(), if has(Section::Sites) { capture.sites.len() } else { 0 });
            assert_eq!(opened.capture.timeline.len(), if has(Section::Timeline) { 3 } else { 0 });
        }
    }
}

#[test]
fn any_changed_bit_is_found() {
    let bytes = bytes_of(&fixture::job());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            match read_all(&changed) {
                Ok(opened) => assert!(opened.damage.is_some(), "byte {at}, bit {bit}"),
                Err(error) => assert!(!error.to_string().contains('\n')),
            }
        }
    }
}

#[test]
fn a_damaged_section_costs_those_that_point_into_it() {
    let bytes = bytes_of(&fixture::job());
    let (_, end_of_frames) = ends(&bytes)[3];
    let mut changed = bytes.clone();
    changed[end_of_frames - 1] ^= 1;
    let damage = read_all(&changed).unwrap().damage.unwrap();
    assert!(!damage.truncated);
    use Section::{Frames, Nodes, Releases, Sites, Slices};
    assert_eq!(damage.missing, [Frames, Nodes, Sites, Releases, Slices]);
}

#[test]
fn a_small_file_cannot_demand_a_large_allocation() {
    let zeros = vec![0; 64 << 20];
    let stored = zstd::bulk::compress(&zeros, 1).unwrap();
    for claimed in [zeros.len() as u64, u64::MAX, 1 << 20] {
        let mut file = file_header().to_vec();
        file.extend(section_header(Section::Meta, Compression::Zstd, claimed, &stored));
        file.extend(&stored);
        assert!(matches!(read_all(&file), Err(Error::Damaged { .. })), "{claimed}");
    }
}

#[test]
fn what_compresses_too_well_is_stored_as_it_is() {
    let mut capture = fixture::job();
    capture.meta.incomplete_reason = "x".repeat(40 << 20);
    assert_eq!(read_all(&bytes_of(&capture)).unwrap().capture, capture);
}

#[test]
fn messages_are_one_line_and_name_the_file() {
    let bytes = bytes_of(&fixture::job());
    assert_eq!(message(b"#!/usr/bin/python"), "x.mlens is not a memlens capture");
    assert_eq!(message(&bytes[..10]), "x.mlens is damaged: it is truncated within its first 12 bytes");
    let mut newer = bytes;
    newer[8] = 7;
    assert_eq!(
        message(&newer),
        "x.mlens has capture format version 7, newer than this memlens can read (1): use a newer memlens"
    );
    let missing = open(Path::new("no/such.mlens")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot open no/such.mlens: No such file or directory");
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
    let error = write_to(&mut Full, &fixture::job()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the capture: No space left on device");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(&bytes);
        let mut file = file_header().to_vec();
        for section in Section::ALL {
            file.extend(section_header(section, Compression::None, bytes.len() as u64, &bytes));
            file.extend(&bytes);
        }
        let _ = read_all(&file);
    }
}
