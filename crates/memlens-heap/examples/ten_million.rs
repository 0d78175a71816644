//! A synthetic heap: how long building, saving, loading and dominators take, and how many bytes an object.
use memlens_heap::{EdgeName, Graph, HeapBuilder, Meta, ObjectId, RootKind, TypeFlags};
use std::time::Instant;

/// A heap as services have them: a list of records, each a dict of strings, shared words and a link to another record.
fn heap(objects: u64) -> HeapBuilder {
    let mut builder = HeapBuilder::new(Meta::default());
    let list = builder.type_("list", "builtins", TypeFlags::COLLECTED);
    let dict = builder.type_("dict", "builtins", TypeFlags::COLLECTED);
    let text = builder.type_("str", "builtins", TypeFlags::default());
    let names = ["id", "name", "kind", "tags", "other"].map(|name| builder.name(name)).map(EdgeName::key);
    let records = objects / 4;
    let mut address = 0x7f00_0000_0000;
    let mut next = |step: u64| {
        address += step;
        address
    };
    let rows = builder.object(next(64), list, 56 + 8 * records);
    let words: Vec<ObjectId> = (0..1000).map(|_| builder.object(next(64), text, 60)).collect();
    builder.root(rows, RootKind::HeldByC(1));
    let firsts: Vec<ObjectId> = (0..records).map(|_| builder.object(next(192), dict, 184)).collect();
    for (index, record) in firsts.iter().enumerate() {
        builder.edge(rows, *record, EdgeName::index(index));
    }
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for record in &firsts {
        let parts = [56, 70, 64].map(|size| builder.object(next(80), if size == 64 { list } else { text }, size));
        let other = firsts[random(firsts.len())];
        let targets = [parts[0], parts[1], words[random(1000)], parts[2], other];
        for (name, target) in names.iter().zip(targets) {
            builder.edge(*record, target, *name);
        }
    }
    for record in 0..records as u32 {
        let tags = ObjectId(firsts[firsts.len() - 1].0 + 1 + 3 * record + 2);
        for index in 0..3 {
            builder.edge(tags, words[random(1000)], EdgeName::index(index));
        }
    }
    builder
}

fn main() {
    let objects = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let started = Instant::now();
    let builder = heap(objects);
    println!("fill {:.2}", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let graph: Graph = builder.finish().expect("a graph");
    println!("finish {:.2} objects {} edges {}", started.elapsed().as_secs_f64(), graph.len(), graph.edge_count());
    if let Some(path) = std::env::args().nth(2) {
        let started = Instant::now();
        graph.save(&mut std::fs::File::create(&path).expect("a file")).expect("to write");
        println!("save {:.2}", started.elapsed().as_secs_f64());
        let started = Instant::now();
        memlens_heap::load(path.as_ref()).expect("to read");
        println!("load {:.2}", started.elapsed().as_secs_f64());
    }
    let started = Instant::now();
    let dominators = graph.dominators();
    println!("dominators {:.2}", started.elapsed().as_secs_f64());
    println!("{}", dominators.retained_bytes(ObjectId(0)));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    print!("{}", status.lines().filter(|line| line.starts_with("VmHWM")).collect::<String>());
}
