//! A page to look at: an icicle of the dominator tree, with search, the suspects and the types. One file, no network.
//!
//! A heap has more objects than a page can hold. Those that retain most are shown, each under its dominator, up to
//! [`MOST_NODES`]; the others are folded into one block for each type below their dominator, with their number and bytes, so
//! that widths always add up.
use super::Described;
use super::describe::address;
use crate::label::{cut_end, one_line};
use memlens_heap::{DominatorTree, ObjectId, TypeId};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

const TEMPLATE: &str = include_str!("page.html");

/// Stands in the template where the data goes.
const DATA_MARK: &str = "MEMLENS_DATA";

/// Objects on the page at most.
const MOST_NODES: usize = 4000;

/// Longest text of a step, in characters.
const LONGEST_STEP: usize = 200;

/// Rows of the table of types.
const TYPE_ROWS: usize = 50;

/// Writes the page.
pub fn write(heap: &Described<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (head, tail) = TEMPLATE.split_once(DATA_MARK).unwrap_or((TEMPLATE, ""));
    let data = serde_json::to_string(&data(heap))?;
    // No text of the heap can end the script that it stands in.
    write!(out, "{head}{}{tail}", data.replace('<', "\\u003c"))
}

fn data(heap: &Described<'_>) -> Value {
    let (graph, meta) = (heap.graph, heap.graph.meta());
    let total = graph.total();
    let mut rows = Rows::new(heap);
    rows.add_all();
    let type_row = |row: &memlens_heap::TypeTotal| {
        json!([graph.type_name(row.type_id), row.own.bytes, row.own.count, row.retained_bytes])
    };
    json!({
        "command": meta.command.join(" "),
        "python": meta.python,
        "pid": meta.pid,
        "bytes": total.bytes,
        "objects": total.count,
        "shown": rows.shown,
        "folded": total.count - rows.shown,
        "types": rows.type_names,
        "nodes": rows.nodes,
        "byType": graph.by_type().iter().take(TYPE_ROWS).map(type_row).collect::<Value>(),
        "suspects": suspects(heap),
    })
}

fn suspects(heap: &Described<'_>) -> Value {
    let row = |suspect: memlens_heap::Suspect| {
        let (what, path) = match suspect.accumulation {
            Some(point) => (heap.label(point), heap.path(point)),
            None => ("no single object".to_owned(), String::new()),
        };
        let children = suspect.children.iter().take(3);
        let child = |(id, count, bytes): &(TypeId, u64, u64)| json!([heap.graph.type_name(*id), count, bytes]);
        json!([suspect.retained_bytes, what, path, children.map(child).collect::<Value>()])
    };
    heap.graph.suspects().into_iter().map(row).collect()
}

/// The nodes of the page: `[parent, type, retained, own, step, text or path, address]`, parents first; a folded block has
/// its number of objects in the place of `own` and `null` in that of the step.
struct Rows<'h, 'g> {
    heap: &'h Described<'g>,
    tree: DominatorTree,
    /// Objects that retain less are folded at once.
    least_bytes: u64,
    waiting: BinaryHeap<(u64, Reverse<u32>)>,
    nodes: Vec<Value>,
    types: FxHashMap<TypeId, usize>,
    type_names: Vec<String>,
    shown: u64,
}

impl<'h, 'g> Rows<'h, 'g> {
    fn new(heap: &'h Described<'g>) -> Self {
        let least_bytes = (heap.graph.total().bytes / (16 * MOST_NODES as u64)).max(1);
        Self {
            heap,
            tree: heap.graph.dominator_tree(),
            least_bytes,
            waiting: BinaryHeap::new(),
            nodes: Vec::new(),
            types: FxHashMap::default(),
            type_names: Vec::new(),
            shown: 0,
        }
    }

    /// Picks the objects that retain most, dominators before what they dominate, and folds the rest.
    fn add_all(&mut self) {
        let mut picked: FxHashMap<ObjectId, usize> = FxHashMap::default();
        let mut order = Vec::new();
        let tops: Vec<ObjectId> = self.tree.tops().collect();
        self.wait(&tops);
        while let Some((_, Reverse(object))) = self.waiting.pop().filter(|_| order.len() < MOST_NODES) {
            let object = ObjectId(object);
            picked.insert(object, order.len());
            order.push(object);
            let children: Vec<ObjectId> = self.tree.children(object).collect();
            self.wait(&children);
        }
        self.shown = order.len() as u64;
        let steps = self.steps(&order, &picked);
        for (object, step) in order.iter().zip(steps) {
            let above = self.heap.dominators().immediate(*object).and_then(|above| picked.get(&above)).copied();
            self.add(*object, above, step);
        }
        self.fold(&tops, None, &picked);
        for (place, object) in order.iter().enumerate() {
            let children: Vec<ObjectId> = self.tree.children(*object).collect();
            self.fold(&children, Some(place), &picked);
        }
    }

    fn wait(&mut self, objects: &[ObjectId]) {
        let sizes = objects.iter().map(|object| (self.heap.retained(*object), Reverse(object.0)));
        self.waiting.extend(sizes.filter(|(bytes, _)| *bytes >= self.least_bytes));
    }

    /// How each object's dominator refers to it, where it does so itself. Each list of references is run through once.
    fn steps(&self, order: &[ObjectId], picked: &FxHashMap<ObjectId, usize>) -> Vec<Option<String>> {
        let graph = self.heap.graph;
        let mut steps = vec![None; order.len()];
        for above in order {
            for edge in graph.edges(*above) {
                let place = picked.get(&edge.to).filter(|_| self.heap.dominators().immediate(edge.to) == Some(*above));
                if let Some(step) = place.map(|place| &mut steps[*place]).filter(|step| step.is_none()) {
                    *step = Some(cut_end(&one_line(&graph.steps_text(&[edge])), LONGEST_STEP));
                }
            }
        }
        steps
    }

    fn type_place(&mut self, id: TypeId) -> usize {
        *self.types.entry(id).or_insert_with(|| {
            self.type_names.push(one_line(&self.heap.graph.type_name(id)));
            self.type_names.len() - 1
        })
    }

    fn add(&mut self, object: ObjectId, above: Option<usize>, step: Option<String>) {
        let graph = self.heap.graph;
        let type_ = self.type_place(graph.type_id(object));
        // With a step the page makes the path of the dominator's; without, it is given.
        let path = if step.is_none() { Some(self.heap.path(object)) } else { None };
        let text = graph.text(object).map(|text| cut_end(&one_line(text), LONGEST_STEP));
        self.nodes.push(json!([
            above,
            type_,
            self.heap.retained(object),
            graph.own_bytes(object),
            step.unwrap_or_default(),
            path,
            text,
            address(graph, object)
        ]));
    }

    /// What is not shown of `children`, a block for each type.
    fn fold(&mut self, children: &[ObjectId], above: Option<usize>, picked: &FxHashMap<ObjectId, usize>) {
        let mut by_type: FxHashMap<TypeId, (u64, u64)> = FxHashMap::default();
        for child in children.iter().filter(|child| !picked.contains_key(child)) {
            let (bytes, count) = by_type.entry(self.heap.graph.type_id(*child)).or_default();
            *bytes = bytes.saturating_add(self.heap.retained(*child));
            *count += 1;
        }
        let mut blocks: Vec<(TypeId, (u64, u64))> = by_type.into_iter().collect();
        blocks.sort_by_key(|(id, (bytes, _))| (Reverse(*bytes), *id));
        let small = blocks.iter().position(|(_, (bytes, _))| *bytes < self.least_bytes).unwrap_or(blocks.len());
        for (id, (bytes, count)) in &blocks[..small] {
            let type_ = self.type_place(*id);
            self.nodes.push(json!([above, type_, bytes, count]));
        }
        let rest =
            blocks[small..].iter().fold((0_u64, 0), |(sum, all), (_, (bytes, count))| (sum + bytes, all + count));
        if rest.1 > 0 {
            self.nodes.push(json!([above, Value::Null, rest.0, rest.1]));
        }
    }
}
