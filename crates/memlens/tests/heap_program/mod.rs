//! A small service as a heap: a cache of sessions with data, a frame with rows, an array that holds itself.
use memlens_heap::{
    BufferKind, EdgeName, FactKind, Frame, Graph, HeapBuilder, Meta, ObjectId, RootKind, TypeFlags, TypeId,
};
use std::collections::HashMap;

const SEEN: TypeFlags = TypeFlags::COLLECTED;

pub struct Program {
    builder: HeapBuilder,
    types: HashMap<&'static str, TypeId>,
    next_address: u64,
}

impl Program {
    pub fn new() -> Self {
        let meta = Meta {
            python: "3.12.1".to_owned(),
            pid: 4711,
            command: vec!["app.py".to_owned(), "--port=80".to_owned()],
            time_unix_ns: 1_800_000_000_000_000_000,
            heap_bytes: Some(30_000_000),
            rss_bytes: Some(64 << 20),
        };
        let mut builder = HeapBuilder::new(meta);
        let types = [
            ("module", "builtins", SEEN | TypeFlags::MODULE),
            ("type", "builtins", SEEN | TypeFlags::CLASS),
            ("dict", "builtins", SEEN),
            ("list", "builtins", SEEN),
            ("str", "builtins", TypeFlags::default()),
            ("bytes", "builtins", TypeFlags::default()),
            ("frame", "builtins", SEEN | TypeFlags::FRAME),
            ("Session", "app.cache", SEEN | TypeFlags::FINALIZER),
            ("ndarray", "numpy", TypeFlags::default()),
        ];
        let types = types.map(|(name, module, flags)| (name, builder.type_(name, module, flags)));
        Self { builder, types: types.into_iter().collect(), next_address: 0x7f12_0000_0000 }
    }

    pub fn object(&mut self, type_: &str, bytes: u64) -> ObjectId {
        self.next_address += 64;
        self.builder.object(self.next_address, self.types[type_], bytes)
    }

    pub fn key(&mut self, from: ObjectId, to: ObjectId, key: &str) {
        let name = self.builder.name(key);
        self.builder.edge(from, to, EdgeName::key(name));
    }

    pub fn attribute(&mut self, from: ObjectId, to: ObjectId, name: &str) {
        let name = self.builder.name(name);
        self.builder.edge(from, to, EdgeName::attribute(name));
    }

    fn module(&mut self, name: &str) -> ObjectId {
        let (module, dict) = (self.object("module", 72), self.object("dict", 4096));
        let name = self.builder.name(name);
        self.builder.root(module, RootKind::Module(name));
        self.attribute(module, dict, "__dict__");
        dict
    }

    fn array(&mut self, bytes: u64, kind: BufferKind) -> ObjectId {
        let array = self.object("ndarray", 112);
        let buffer = self.builder.buffer(self.next_address + 0x10_0000_0000, bytes, kind);
        self.builder.edge(array, buffer, EdgeName::BUFFER);
        array
    }

    /// A session of 80 KB in the table; two of them have equal data.
    fn session(&mut self, table: ObjectId, number: usize) {
        let (session, data) = (self.object("Session", 48), self.array(80_000, BufferKind::Heap));
        self.key(table, session, &format!("'u{number}'"));
        self.attribute(session, data, "data");
        let user = self.object("str", 50);
        self.builder.text(user, &format!("'user {number}'"));
        self.attribute(session, user, "name");
        self.builder.content(data, if number < 2 { 99 } else { number as u64 });
    }

    fn main_frame(&mut self) {
        let (frame, rows) = (self.object("frame", 0), self.object("list", 8056));
        let names = ["MainThread", "main", "/srv/app.py", "rows"].map(|name| self.builder.name(name));
        self.builder.root(frame, RootKind::Frame { thread: names[0] });
        self.builder.frame(frame, Frame { function: names[1], file: names[2], line: 12 });
        self.builder.edge(frame, rows, EdgeName::local(names[3]));
        for index in 0..10 {
            let row = self.object("bytes", 100_033);
            self.builder.edge(rows, row, EdgeName::index(index));
        }
        self.builder.fact(rows, FactKind::OverAllocated { used: 10, capacity: 1000 }, 7920);
    }

    /// An array of objects that holds its own holder, and a column of small numbers.
    fn data(&mut self, globals: ObjectId) {
        let (holder, column) = (self.object("dict", 184), self.array(8_000_000, BufferKind::Mmap));
        let array = self.array(800, BufferKind::Heap);
        self.key(globals, holder, "'registry'");
        self.key(holder, array, "'all'");
        self.builder.edge(array, holder, EdgeName::index(0));
        self.key(globals, column, "'ages'");
        let element = self.builder.name("int8");
        self.builder.fact(column, FactKind::FitsSmaller { element }, 7_000_000);
        let mapped = self.array(5_000_000, BufferKind::File);
        self.key(globals, mapped, "'mapped'");
    }

    fn loose_ends(&mut self) {
        let (lost, other) = (self.object("list", 56), self.object("list", 56));
        self.builder.edge(lost, other, EdgeName::index(0));
        self.builder.edge(other, lost, EdgeName::index(0));
        let held = self.object("Session", 48);
        self.builder.root(held, RootKind::HeldByC(2));
        self.builder.opaque(held, 500_000);
    }

    /// The service with this many sessions.
    pub fn service(sessions: usize) -> Graph {
        let mut program = Self::new();
        let (main, cache) = (program.module("__main__"), program.module("app.cache"));
        program.main_frame();
        program.data(main);
        program.loose_ends();
        let class = program.object("type", 1064);
        program.key(cache, class, "'Session'");
        program.attribute(class, cache, "__module_dict__");
        program.builder.class_object(program.types["Session"], class);
        let table = program.object("dict", 232);
        program.key(cache, table, "'SESSIONS'");
        (0..sessions).for_each(|number| program.session(table, number));
        program.builder.finish().expect("a graph")
    }
}
