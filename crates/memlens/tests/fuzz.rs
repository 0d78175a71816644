//! Captures changed at random, with their checksums put right so that the changes get past the container: reading one, and every report of what
//! was read, ends without a panic and without a large allocation.
//!
//! A fixed number of cases from a fixed seed; `cargo xtask fuzz reader` sets MEMLENS_FUZZ_SECONDS, and MEMLENS_FUZZ_SEED for another sequence.
use memlens_analysis::{CallTree, LineQuery, Lines, Profile, Summary};
use memlens_capture::{Parts, read};
use memlens_format::capture::Section;
use memlens_format::capture::container::{Compression, StoredSections, file_header, section_header};
use memlens_report::{NoSources, collapsed, json, speedscope, terminal};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, sink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CASES: u64 = 3_000;
/// The seeds are smaller than 1 MiB; this is sixty times as much.
const MOST_BYTES_AT_ONCE: usize = 64 << 20;
const SLOW: Duration = Duration::from_secs(20);

/// The system's allocator, which notes the largest request.
struct Noting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// Xorshift: the run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }
}

type Payloads = Vec<(Section, Vec<u8>)>;

fn payloads(file: &[u8]) -> Payloads {
    let sections = StoredSections::new(file).map(|section| section.expect("a section"));
    let decompressed = |stored: &[u8], bytes| zstd::bulk::decompress(stored, bytes).expect("a frame");
    sections
        .map(|section| {
            let payload = match section.compression() {
                Some(Compression::Zstd) => decompressed(section.stored(), section.raw_bytes() as usize),
                _ => section.stored().to_vec(),
            };
            (section.section().expect("a known section"), payload)
        })
        .collect()
}

fn file(payloads: &Payloads) -> Vec<u8> {
    let mut file = file_header().to_vec();
    for (section, payload) in payloads {
        file.extend(section_header(*section, Compression::None, payload.len() as u64, payload));
        file.extend(payload);
    }
    file
}

/// The captures of every released version.
fn seeds() -> Vec<Payloads> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let versions = std::fs::read_dir(folder).expect("captures").map(|entry| entry.expect("a version").path());
    let files = versions.flat_map(|version| std::fs::read_dir(version).expect("a version"));
    let mut paths: Vec<_> = files.map(|entry| entry.expect("a capture").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "mlens"));
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| payloads(&std::fs::read(path).expect("a capture"))).collect()
}

fn change(payloads: &mut Payloads, random: &mut Random) {
    let (at, other) = (random.below(payloads.len()), random.below(payloads.len()));
    let place = random.below(payloads[at].1.len());
    let byte = [0, 1, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(6)];
    match random.below(14) {
        0 => drop(payloads.remove(at)),
        1 => payloads.swap(at, other),
        2 => payloads[at].1 = payloads[other].1.clone(),
        3 => payloads[at].1.truncate(place),
        4 => payloads.push(payloads[at].clone()),
        5 => payloads[at].1.insert(place, byte),
        // A varint of ten bytes: the largest number.
        6 => drop(payloads[at].1.splice(place..place, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        7..11 if !payloads[at].1.is_empty() => payloads[at].1[place] = byte,
        _ if !payloads[at].1.is_empty() => payloads[at].1[place] ^= 1 << random.below(8),
        _ => {}
    }
}

/// Every report.
fn ask(profile: &Profile) -> io::Result<()> {
    let options = terminal::Options::default();
    let (summary, tree) = (Summary::new(profile), CallTree::new(profile));
    let lines = Lines::new(profile, &LineQuery::default());
    json::write_profile(profile, &summary, &mut sink())?;
    json::write_summary(profile, &summary, &mut sink())?;
    json::write_tree(profile, &tree, &mut sink())?;
    json::write_lines(profile, &lines, &NoSources, &mut sink())?;
    terminal::write_summary(profile, &summary, &NoSources, &options, &mut sink())?;
    terminal::write_tree(profile, &tree, &options, &mut sink())?;
    terminal::write_lines(profile, &lines, &NoSources, &options, &mut sink())?;
    speedscope::write(profile, &speedscope::Options, &mut sink())?;
    collapsed::write(profile, &collapsed::Options::default(), &mut sink())
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_changed_capture_makes_it_panic() {
    let seconds = variable("MEMLENS_FUZZ_SECONDS").map(Duration::from_secs);
    let mut random = Random(variable("MEMLENS_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15));
    let (seeds, start) = (seeds(), Instant::now());
    let (mut cases, mut readable) = (0, 0);
    LARGEST.store(0, Relaxed);
    while seconds.map_or(cases < CASES, |seconds| start.elapsed() < seconds) {
        let mut payloads = seeds[random.below(seeds.len())].clone();
        let began = (random.0, Instant::now());
        (0..=random.below(4)).for_each(|_| change(&mut payloads, &mut random));
        if payloads.is_empty() {
            continue;
        }
        cases += 1;
        if let Ok(opened) = read(&file(&payloads), Path::new("x.mlens"), Parts::All) {
            readable += 1;
            ask(&Profile::new(opened.into_capture())).expect("nothing to fail");
        }
        let largest = LARGEST.load(Relaxed);
        assert!(largest <= MOST_BYTES_AT_ONCE, "{largest} bytes at once, in the case of state {:#x}", began.0);
        assert!(began.1.elapsed() < SLOW, "{:?} in the case of state {:#x}", began.1.elapsed(), began.0);
    }
    println!("reader: {cases} captures, {readable} of them read, at most {} bytes at once", LARGEST.load(Relaxed));
    assert!(readable > cases / 20, "the changes hardly get past the container");
}
