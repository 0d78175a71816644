//! Writes a large made-up capture and says what that took:
//! `cargo run --release -p memlens-capture --example synthetic -- big.mlens`.
//!
//! 100,000 sites over a call tree of 150,000 nodes up to 100 deep, 256 slices: about what a day of a large service
//! leaves. The figures are drawn from skewed distributions (most sites see few and small blocks), for compression and
//! varints live on that.
use memlens_capture::{Parts, open_parts, write_to};
use memlens_format::Allocator;
use memlens_format::capture::*;
use std::io::Write as _;
use std::time::Instant;

const NODES: u32 = 150_000;
const SITES: u32 = 100_000;
const FRAMES: u32 = 12_000;
const STRINGS: u32 = 6_000;
const FILES: u32 = 400;
const SLICES: u64 = 256;
const DEEPEST: u32 = 100;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Below 2^`bits`, each order of magnitude as likely as the next.
    fn skewed(&mut self, bits: u64) -> u64 {
        let magnitude = self.below(bits + 1);
        self.below(1 << magnitude)
    }
}

fn frames(random: &mut Random) -> (Vec<String>, Vec<Frame>) {
    let file = |index: u32| match index % 4 {
        0 => format!("/srv/app/module_{index}/part.py"),
        _ => format!("/usr/lib/python3/dist-packages/package_{index}/module_{}.py", index / 7),
    };
    let strings = (0..STRINGS)
        .map(|index| if index < FILES { file(index) } else { format!("Class_{}.method_{index}", index % 97) })
        .collect();
    let frames = (0..FRAMES)
        .map(|index| {
            let first_line = 1 + random.below(2000) as u32;
            Frame {
                function: StringId(FILES + (index / 3) % (STRINGS - FILES)),
                file: StringId((index / 30) % FILES),
                line: first_line + 1 + random.below(40) as u32,
                first_line,
            }
        })
        .collect();
    (strings, frames)
}

fn nodes(random: &mut Random) -> Vec<Node> {
    let mut depth = vec![0u32; NODES as usize];
    let mut nodes = Vec::with_capacity(NODES as usize);
    for index in 0..NODES {
        let reach = index.min(1 + random.skewed(8) as u32);
        let parent = (reach > 0).then(|| index - reach).filter(|parent| depth[*parent as usize] + 1 < DEEPEST);
        depth[index as usize] = parent.map_or(0, |parent| depth[parent as usize] + 1);
        nodes.push(Node { parent: parent.map(NodeId), frame: FrameId(random.below(u64::from(FRAMES)) as u32) });
    }
    nodes
}

fn site(random: &mut Random, index: u32) -> Site {
    let allocators = [Allocator::Pyobject, Allocator::Pyobject, Allocator::Pymem, Allocator::Malloc];
    let allocations = 1 + random.skewed(16);
    let size = 16 + 16 * random.skewed(8);
    let live_count = if random.below(3) == 0 { random.below(allocations + 1) } else { 0 };
    let peak_count = if random.below(2) == 0 { random.below(allocations + 1) } else { live_count };
    let temporary_count = if random.below(4) == 0 { random.below(allocations - live_count + 1) } else { 0 };
    Site {
        process: 0,
        node: Some(NodeId((u64::from(index) * u64::from(NODES) / u64::from(SITES)) as u32)),
        allocator: allocators[random.below(4) as usize],
        allocations,
        allocated_bytes: allocations * size,
        live_count,
        live_bytes: live_count * size,
        peak_count,
        peak_bytes: peak_count * size,
        temporary_count,
        temporary_bytes: temporary_count * size,
    }
}

fn slice(random: &mut Random, index: u64) -> Slice {
    let mut changes = Vec::new();
    let mut site = random.below(64) as u32;
    while site < SITES {
        let allocations = 1 + random.skewed(8);
        let size = 16 + 16 * random.skewed(8);
        let kept = if random.below(3) == 0 { random.below(allocations + 1) } else { 0 };
        changes.push(Change {
            site: SiteId(site),
            allocations,
            allocated_bytes: allocations * size,
            live_count: kept as i64,
            live_bytes: (kept * size) as i64,
        });
        site += 1 + random.skewed(8) as u32;
    }
    Slice { time_ns: index * 40_000_000, changes }
}

fn synthetic() -> Capture {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (strings, frames) = frames(&mut random);
    let nodes = nodes(&mut random);
    let sites: Vec<Site> = (0..SITES).map(|index| site(&mut random, index)).collect();
    let releases = (0..NODES)
        .step_by(3)
        .map(|node| {
            let count = 1 + random.skewed(12);
            Release { process: 0, node: Some(NodeId(node)), count, bytes: count * 64, is_file: false }
        })
        .collect();
    let peak_bytes = sites.iter().map(|site| site.peak_bytes).sum();
    // A tenth of the slices is full: a program does most of its new work in bursts.
    let slices: Vec<Slice> = (0..SLICES)
        .map(|index| {
            let mut slice = slice(&mut random, index);
            if index % 10 != 0 {
                slice.changes.retain(|change| change.site.0 % 10 == 0);
            }
            slice
        })
        .collect();
    let timeline = (0..4096)
        .map(|index| Point {
            time_ns: index * 2_500_000,
            live_bytes: index * 65_536,
            rss_bytes: index * 81_920,
            pss_bytes: 0,
        })
        .collect();
    let meta = Meta {
        command: vec!["service.py".into()],
        interpreter: "/usr/bin/python3".into(),
        python_version: "3.12.1".into(),
        memlens_version: env!("CARGO_PKG_VERSION").into(),
        working_directory: "/srv/app".into(),
        duration_ns: 10_240_000_000,
        exit: Exit { code: Some(0), ..Exit::default() },
        complete: true,
        peak_bytes,
        peak_time_ns: 7_000_000_000,
        rss_peak_bytes: peak_bytes * 5 / 4,
        ..Meta::default()
    };
    let process = Process {
        pid: 100,
        parent_pid: 1,
        command: vec!["service.py".into()],
        peak_bytes,
        rss_peak_bytes: peak_bytes * 5 / 4,
    };
    Capture {
        meta,
        processes: vec![process],
        strings,
        frames,
        nodes,
        sites,
        releases,
        slices,
        timeline,
        regions: Vec::new(),
    }
}

fn milliseconds(times: usize, mut work: impl FnMut()) -> f64 {
    let mut taken: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[times / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::PathBuf::from(std::env::args_os().nth(1).ok_or("usage: synthetic FILE")?);
    let capture = synthetic();
    let written = write_to(&mut std::fs::File::create(&path)?, &capture)?;
    let changes: usize = capture.slices.iter().map(|slice| slice.changes.len()).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} sites, {} nodes, {changes} changes: {} bytes", SITES, NODES, written.bytes)?;
    for section in Section::ALL {
        let payload = encode_section(section, &capture);
        let time = milliseconds(11, || drop(encode_section(section, &capture)));
        writeln!(out, "  {:10} {:>9} bytes raw, encoded in {time:.2} ms", section.name(), payload.len())?;
    }
    let time = milliseconds(11, || {
        write_to(&mut Vec::new(), &capture).expect("a Vec takes everything");
    });
    writeln!(out, "encode and compress {time:.1} ms")?;
    for parts in [Parts::All, Parts::WithoutSlices] {
        let time = milliseconds(11, || {
            open_parts(&path, parts).expect("it was just written");
        });
        writeln!(out, "open {parts:?} {time:.1} ms")?;
    }
    Ok(())
}
