//! `fuzz_read SECONDS FILE...`: changes snapshots at random, puts the checksums right, reads them and asks every question.
//! A panic, which aborts, is a finding; so is anything that needs more memory than the caller allows it (`ulimit -v`).
//!
//! The changes are made to decompressed values, so that they get past the container to the checks behind it.
use memlens_heap::{Graph, ObjectId, read};
use std::path::Path;
use std::time::{Duration, Instant};

const HEADER_BYTES: usize = 24;

/// A chunk whose payload is decompressed.
#[derive(Clone)]
struct Chunk {
    header: Vec<u8>,
    values: Vec<u8>,
}

fn number(bytes: &[u8], at: usize) -> usize {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn chunks(file: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut at = 12;
    while at < file.len() {
        let header = file[at..at + HEADER_BYTES].to_vec();
        let (count, length) = (number(&header, 12), number(&header, 16));
        let payload = &file[at + HEADER_BYTES..at + HEADER_BYTES + length];
        let raw_bytes = count * usize::from(header[9]);
        let values = if header[8] == 1 {
            zstd::bulk::decompress(payload, raw_bytes).expect("a frame")
        } else {
            payload.to_vec()
        };
        chunks.push(Chunk { header, values });
        at += HEADER_BYTES + length.max(count / 32);
    }
    chunks
}

fn file(head: &[u8], chunks: &[Chunk]) -> Vec<u8> {
    let mut file = head.to_vec();
    for (sequence, chunk) in (0_u32..).zip(chunks) {
        let mut header = chunk.header.clone();
        let padding = (number(&header, 12) / 32).saturating_sub(chunk.values.len());
        header[4..8].copy_from_slice(&sequence.to_le_bytes());
        header[8] = 0;
        header[16..20].copy_from_slice(&(chunk.values.len() as u32).to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        [&header[..20], &chunk.values, &vec![0; padding]].into_iter().for_each(|part| hasher.update(part));
        header[20..].copy_from_slice(&hasher.finalize().to_le_bytes());
        [&header, &chunk.values, &vec![0; padding]].into_iter().for_each(|part| file.extend(part));
    }
    file
}

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

fn change(chunks: &mut Vec<Chunk>, random: &mut Random) {
    let at = random.below(chunks.len());
    let other = random.below(chunks.len());
    let place = random.below(chunks[at].values.len());
    match random.below(12) {
        0 => drop(chunks.remove(at)),
        1 => chunks.swap(at, other),
        2 => chunks[at].values = chunks[other].values.clone(),
        3 => chunks[at].header[12 + random.below(4)] ^= 1 << random.below(8),
        4 => chunks[at].header[9] = random.below(9) as u8,
        5 => chunks[at].values.truncate(place),
        6..9 if !chunks[at].values.is_empty() => chunks[at].values[place] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        _ if !chunks[at].values.is_empty() => chunks[at].values[place] ^= 1 << random.below(8),
        _ => {}
    }
}

fn ask(graph: &Graph) {
    let _ =
        (graph.by_type(), graph.by_module(), graph.duplicates(), graph.sparse(), graph.suspects(), graph.diff(graph));
    graph.cycles().iter().take(20).for_each(|cycle| drop(graph.way_round(cycle)));
    for object in graph.top_without_wrappers(5).into_iter().chain(graph.objects().next_back()) {
        graph.why(object, 3).iter().for_each(|path| drop(graph.path_text(path)));
        let _ = graph.sizes(object, |_| true);
    }
    let _ = graph.retained(&[ObjectId(0)].into_iter().filter(|_| !graph.is_empty()).collect::<Vec<_>>());
    graph.save(&mut std::io::sink()).expect("to write");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).expect("seconds");
    let files: Vec<Vec<u8>> = arguments.map(|path| std::fs::read(path).expect("a file")).collect();
    let seeds: Vec<Vec<Chunk>> = files.iter().map(|file| chunks(file)).collect();
    let (mut random, mut reads, mut graphs) = (Random(0x9e37_79b9_7f4a_7c15), 0_u64, 0_u64);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        let seed = random.below(seeds.len());
        let mut changed = seeds[seed].clone();
        (0..=random.below(4)).for_each(|_| change(&mut changed, &mut random));
        let bytes = file(&files[seed][..12], &changed);
        reads += 1;
        if let Ok(graph) = read(bytes.as_slice(), bytes.len() as u64, Path::new("fuzz")) {
            graphs += 1;
            ask(&graph);
        }
    }
    println!("{reads} files read, {graphs} of them as graphs, no crash");
}
