//! Heaps of millions of made-up objects: how long each step takes, and how many bytes of memory an object.
//!
//! `ten_million build SHAPE FILE [OBJECTS]` fills a builder, finishes the graph and saves it; `ten_million analyse FILE` loads
//! it in a process of its own, as `memlens heap` does, and asks the questions. `cargo xtask bench-heap` runs both.
use memlens_heap::{EdgeName, Graph, HeapBuilder, Meta, ObjectId, RootKind, TypeFlags, TypeId, load};
use std::fs::File;
use std::path::Path;
use std::time::Instant;

struct Heap {
    builder: HeapBuilder,
    list: TypeId,
    dict: TypeId,
    text: TypeId,
    next_address: u64,
    random: u64,
}

impl Heap {
    fn new() -> Self {
        let mut builder = HeapBuilder::new(Meta::default());
        let [list, dict] = ["list", "dict"].map(|name| builder.type_(name, "builtins", TypeFlags::COLLECTED));
        let text = builder.type_("str", "builtins", TypeFlags::default());
        Self { builder, list, dict, text, next_address: 0x7f00_0000_0000, random: 1 }
    }

    fn object(&mut self, type_: TypeId, bytes: u64) -> ObjectId {
        self.next_address += bytes.next_multiple_of(16);
        self.builder.object(self.next_address, type_, bytes)
    }

    /// Below `below`; a linear congruence, for figures must be the same each time.
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % below
    }

    /// A list of dictionaries as a service has them: two strings and a list of their own, shared words, and with `links` a
    /// reference to any other of them, the worst case for every cache.
    fn records(mut self, objects: u64, links: bool) -> HeapBuilder {
        let count = objects / 4;
        let keys = ["id", "name", "kind", "tags", "other"].map(|key| EdgeName::key(self.builder.name(key)));
        let rows = self.object(self.list, 56 + 8 * count);
        self.builder.root(rows, RootKind::HeldByC(1));
        let words: Vec<ObjectId> = (0..1000).map(|_| self.object(self.text, 60)).collect();
        let records: Vec<ObjectId> = (0..count).map(|_| self.object(self.dict, 184)).collect();
        for (index, record) in records.iter().enumerate() {
            self.builder.edge(rows, *record, EdgeName::index(index));
        }
        let mut tags = Vec::new();
        for record in &records {
            let [id, name] = [56, 70].map(|bytes| self.object(self.text, bytes));
            let own = self.object(self.list, 80);
            tags.push(own);
            let word = words[self.random(1000)];
            let other = if links { records[self.random(records.len())] } else { word };
            for (key, to) in keys.iter().zip([id, name, word, own, other]) {
                self.builder.edge(*record, to, *key);
            }
        }
        for own in tags {
            for index in 0..3 {
                let word = words[self.random(1000)];
                self.builder.edge(own, word, EdgeName::index(index));
            }
        }
        self.builder
    }
}

/// Peak resident set in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Runs a step and prints its time, and the peak so far by object.
fn step<T>(name: &str, objects: impl Fn(&T) -> usize, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = run();
    let seconds = started.elapsed().as_secs_f64();
    let each = peak() as f64 / objects(&result).max(1) as f64;
    println!("{name:<28}{seconds:>7.2} s{each:>9.1} bytes an object at the peak so far");
    result
}

fn build(shape: &str, path: &Path, objects: u64) {
    let builder = step("fill the builder", HeapBuilder::len, || Heap::new().records(objects, shape == "linked"));
    let graph = step("finish", Graph::len, || builder.finish().expect("a graph"));
    let length = graph.len();
    step("save", |_| length, || graph.save(&mut File::create(path).expect("a file")).expect("to write"));
    let (heap, file) = (graph.total().bytes, std::fs::metadata(path).expect("the file").len());
    println!("{length} objects, {} references, heap {heap} bytes, file {file} bytes", graph.edge_count());
}

fn analyse(path: &Path) {
    let graph = step("load", Graph::len, || load(path).expect("a snapshot"));
    let length = graph.len();
    step("dominators, retained sizes", |_| length, || graph.dominators().retained_bytes(ObjectId(0)));
    step("largest 10", |_| length, || graph.top_without_wrappers(10));
    step("by type", |_| length, || graph.by_type());
    step("by module", |_| length, || graph.by_module());
    step("cycles", |_| length, || graph.cycles().len());
    let last = ObjectId(length as u32 - 1);
    step("why, 5 paths", |_| length, || graph.why(last, 5));
    step("retained of a set", |_| length, || graph.retained(&[last, ObjectId(length as u32 / 2)]));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["build", shape @ ("linked" | "tree"), path] => build(shape, path.as_ref(), 10_000_000),
        ["build", shape @ ("linked" | "tree"), path, objects] => {
            build(shape, path.as_ref(), objects.parse().expect("a number of objects"));
        }
        ["analyse", path] => analyse(path.as_ref()),
        _ => eprintln!("usage: ten_million build linked|tree FILE [OBJECTS] | ten_million analyse FILE"),
    }
}
