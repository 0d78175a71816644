//! Chrome's heap snapshot (`.heapsnapshot`), so that the Memory panel of its DevTools opens a Python heap.
//!
//! The format is V8's: one JSON object with flat lists of numbers whose fields `snapshot.meta` names, and one list of strings
//! (V8, `src/profiler/heap-snapshot-generator.cc`, `HeapSnapshotJSONSerializer`). Node 0 is the root of all; below it stand
//! `(GC roots)` with a node for each kind of root, as the panel expects, and each module as a user root. An object's
//! constructor is its Python type; a reference's name is its attribute, key or variable. Both passes stream: nothing but the
//! types' names is held in memory.
use super::Described;
use memlens_heap::{Edge, EdgeKind, Graph, NameId, ObjectId, Root, RootKind, TypeFlags};
use serde_json::json;
use std::io::{self, Write};

/// Numbers of a node: type, name, id, self size, edge count, trace node id, detachedness.
const NODE_FIELDS: usize = 7;

/// Nodes before the first object: the root, `(GC roots)`, and one for each kind of root.
const SYNTHETIC: [&str; 2 + KINDS.len()] = ["", "(GC roots)", KINDS[0], KINDS[1], KINDS[2], KINDS[3], KINDS[4]];

const KINDS: [&str; 5] =
    ["(modules)", "(frames)", "(the interpreter)", "(held by C code)", "(unreachable: wait for the collector)"];

/// Names that no Python heap brings along.
const FIXED: [&str; 4] = ["__class__", "(buffer)", "(held by C code)", "(member)"];

// Places in the lists of types that `meta` gives.
const NODE_OBJECT: u64 = 3;
const NODE_NATIVE: u64 = 8;
const NODE_SYNTHETIC: u64 = 9;
const EDGE_CONTEXT: u64 = 0;
const EDGE_ELEMENT: u64 = 1;
const EDGE_PROPERTY: u64 = 2;
const EDGE_INTERNAL: u64 = 3;
const EDGE_SHORTCUT: u64 = 5;
const EDGE_WEAK: u64 = 6;

/// Writes the heap.
pub fn write(heap: &Described<'_>, out: &mut dyn Write) -> io::Result<()> {
    let export = Export::new(heap.graph);
    write!(out, "{{\"snapshot\":{},\n\"nodes\":[", export.header())?;
    let mut nodes = Numbers { out, is_first: true };
    export.write_nodes(&mut nodes)?;
    write!(out, "],\n\"edges\":[")?;
    let mut edges = Numbers { out, is_first: true };
    export.write_edges(&mut edges)?;
    let empty = ["trace_function_infos", "trace_tree", "samples", "locations"];
    write!(out, "]")?;
    empty.iter().try_for_each(|name| write!(out, ",\n\"{name}\":[]"))?;
    write!(out, ",\n\"strings\":[")?;
    export.write_strings(out)?;
    writeln!(out, "]}}")
}

/// A list of numbers, a row at a time.
struct Numbers<'a> {
    out: &'a mut dyn Write,
    is_first: bool,
}

impl Numbers<'_> {
    fn row(&mut self, numbers: &[u64]) -> io::Result<()> {
        for number in numbers {
            let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
            write!(self.out, "{comma}{number}")?;
        }
        writeln!(self.out)
    }
}

struct Export<'g> {
    graph: &'g Graph,
    /// Roots by kind.
    groups: [Vec<Root>; KINDS.len()],
    /// Weak references, by where they come from.
    weak: Vec<(ObjectId, ObjectId)>,
}

fn kind_index(kind: RootKind) -> usize {
    match kind {
        RootKind::Module(_) => 0,
        RootKind::Frame { .. } => 1,
        RootKind::Interpreter(_) => 2,
        RootKind::HeldByC(_) => 3,
        RootKind::Unreachable => 4,
    }
}

impl<'g> Export<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut groups: [Vec<Root>; KINDS.len()] = Default::default();
        graph.roots().iter().for_each(|root| groups[kind_index(root.kind)].push(*root));
        Self { graph, groups, weak: graph.weak_references().collect() }
    }

    fn header(&self) -> serde_json::Value {
        let class_edges = self.graph.objects().filter(|object| self.graph.class_of(*object).is_some()).count();
        let synthetic_edges = 1 + self.groups[0].len() + KINDS.len() + self.graph.roots().len();
        let number = ["number"; 5].map(serde_json::Value::from);
        let node_types = [json!(NODE_TYPES), json!("string")].into_iter().chain(number);
        json!({
            "meta": {
                "node_fields":
                    ["type", "name", "id", "self_size", "edge_count", "trace_node_id", "detachedness"],
                "node_types": node_types.collect::<serde_json::Value>(),
                "edge_fields": ["type", "name_or_index", "to_node"],
                "edge_types": [json!(EDGE_TYPES), json!("string_or_number"), json!("node")],
                "trace_function_info_fields":
                    ["function_id", "name", "script_name", "script_id", "line", "column"],
                "trace_node_fields": ["id", "function_info_index", "count", "size", "children"],
                "sample_fields": ["timestamp_us", "last_assigned_id"],
                "location_fields": ["object_index", "script_id", "line", "column"],
            },
            "node_count": SYNTHETIC.len() + self.graph.len(),
            "edge_count": synthetic_edges + self.graph.edge_count() + class_edges + self.weak.len(),
            "trace_function_count": 0,
            "extra_native_bytes": 0,
        })
    }

    fn write_nodes(&self, out: &mut Numbers<'_>) -> io::Result<()> {
        let below_root = 1 + self.groups[0].len();
        let counts = [below_root, KINDS.len()].into_iter().chain(self.groups.iter().map(Vec::len));
        for (index, edges) in counts.enumerate() {
            out.row(&[NODE_SYNTHETIC, index as u64, node_id(index), 0, edges as u64, 0, 0])?;
        }
        let mut weak = self.weak.iter().peekable();
        for object in self.graph.objects() {
            let mut edges = self.graph.edges(object).count() as u64;
            while weak.next_if(|(from, _)| *from == object).is_some() {
                edges += 1;
            }
            let is_buffer = self.graph.is_a(object, TypeFlags::BUFFER);
            let kind = if is_buffer { NODE_NATIVE } else { NODE_OBJECT };
            let name = (SYNTHETIC.len() + FIXED.len() + self.graph.type_id(object).index()) as u64;
            let id = node_id(SYNTHETIC.len() + object.index());
            out.row(&[kind, name, id, self.graph.own_bytes(object), edges, 0, 0])?;
        }
        Ok(())
    }

    fn write_edges(&self, out: &mut Numbers<'_>) -> io::Result<()> {
        out.row(&[EDGE_ELEMENT, 0, node_place(1)])?;
        for root in &self.groups[0] {
            out.row(&[EDGE_SHORTCUT, self.root_name(*root), object_place(root.object)])?;
        }
        (0..KINDS.len()).try_for_each(|kind| out.row(&[EDGE_ELEMENT, kind as u64, node_place(2 + kind)]))?;
        for root in self.groups.iter().flatten() {
            let (kind, name) = match root.kind.name() {
                Some(_) => (EDGE_INTERNAL, self.root_name(*root)),
                None => (EDGE_ELEMENT, root.object.index() as u64),
            };
            out.row(&[kind, name, object_place(root.object)])?;
        }
        let mut weak = self.weak.iter().peekable();
        for object in self.graph.objects() {
            for edge in self.graph.edges(object) {
                let (kind, name) = self.edge_numbers(edge);
                out.row(&[kind, name, object_place(edge.to)])?;
            }
            while let Some((_, to)) = weak.next_if(|(from, _)| *from == object) {
                out.row(&[EDGE_WEAK, fixed(3), object_place(*to)])?;
            }
        }
        Ok(())
    }

    fn root_name(&self, root: Root) -> u64 {
        root.kind.name().map_or(0, |name| self.string(name))
    }

    fn string(&self, name: NameId) -> u64 {
        (SYNTHETIC.len() + FIXED.len() + self.graph.types().len()) as u64 + u64::from(name.0)
    }

    fn edge_numbers(&self, edge: Edge) -> (u64, u64) {
        let name = edge.name.name().map_or(0, |name| self.string(name));
        match edge.name.kind() {
            EdgeKind::Index => (EDGE_ELEMENT, u64::from(edge.name.index_value())),
            EdgeKind::Attribute | EdgeKind::Key | EdgeKind::Global | EdgeKind::Local => (EDGE_PROPERTY, name),
            EdgeKind::KeyObject => (EDGE_INTERNAL, name),
            EdgeKind::Cell => (EDGE_CONTEXT, name),
            EdgeKind::Class => (EDGE_INTERNAL, fixed(0)),
            EdgeKind::Buffer => (EDGE_INTERNAL, fixed(1)),
            EdgeKind::Hidden => (EDGE_INTERNAL, fixed(2)),
            EdgeKind::Member => (EDGE_INTERNAL, fixed(3)),
        }
    }

    /// Synthetic nodes, fixed names, types, names: the order that the numbers rely on.
    fn write_strings(&self, out: &mut dyn Write) -> io::Result<()> {
        let types = (0..self.graph.types().len() as u32).map(|id| self.graph.type_name(memlens_heap::TypeId(id)));
        let fixed = SYNTHETIC.iter().chain(&FIXED).map(ToString::to_string);
        let names = self.graph.names().map(ToOwned::to_owned);
        for (index, text) in fixed.chain(types).chain(names).enumerate() {
            write!(out, "{}", if index == 0 { "" } else { ",\n" })?;
            serde_json::to_writer(&mut *out, &text)?;
        }
        Ok(())
    }
}

const NODE_TYPES: &[&str] = &[
    "hidden",
    "array",
    "string",
    "object",
    "code",
    "closure",
    "regexp",
    "number",
    "native",
    "synthetic",
    "concatenated string",
    "sliced string",
    "symbol",
    "bigint",
    "object shape",
];

const EDGE_TYPES: &[&str] = &["context", "element", "property", "internal", "hidden", "shortcut", "weak"];

/// Ids are odd, as V8's are.
fn node_id(index: usize) -> u64 {
    2 * index as u64 + 1
}

fn node_place(index: usize) -> u64 {
    (index * NODE_FIELDS) as u64
}

fn object_place(object: ObjectId) -> u64 {
    node_place(SYNTHETIC.len() + object.index())
}

fn fixed(index: usize) -> u64 {
    (SYNTHETIC.len() + index) as u64
}
