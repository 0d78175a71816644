//! JSON about a heap. The schemas are stable: a field is added, never renamed. Integers are bytes or counts, addresses are
//! text (`"0x7f12…"`), since they do not fit the numbers of JavaScript. Lists are whole, largest first, unless the function
//! says otherwise.
use super::Described;
use super::describe::address;
use super::terminal::fact_text;
use memlens_heap::{Cycle, Diff, Duplicates, Fact, Graph, ObjectId, Path, Paths, Suspect, Total, TypeId};
use serde_json::{Value, json};
use std::io::{self, Write};

fn write(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn total(total: Total) -> Value {
    json!({ "bytes": total.bytes, "count": total.count })
}

fn type_name(graph: &Graph, id: TypeId) -> String {
    graph.type_name(id)
}

/// An object: address, type, value if known, sizes, a shortest path.
fn object(heap: &Described<'_>, object: ObjectId) -> Value {
    let graph = heap.graph;
    json!({
        "address": address(graph, object),
        "type": graph.type_name(graph.type_id(object)),
        "text": graph.text(object),
        "shallow_bytes": graph.shallow_bytes(object),
        "opaque_bytes": graph.opaque_bytes(object),
        "retained_bytes": heap.retained(object),
        "path": heap.path(object),
    })
}

/// Writes `memlens.heap/1`: the process, totals, `types`, and the `top` objects given.
pub fn write_overview(heap: &Described<'_>, top: &[ObjectId], out: &mut dyn Write) -> io::Result<()> {
    let (graph, meta) = (heap.graph, heap.graph.meta());
    let value = json!({
        "schema": "memlens.heap/1",
        "command": meta.command,
        "python": meta.python,
        "pid": meta.pid,
        "time_unix_ns": meta.time_unix_ns,
        "heap_bytes": meta.heap_bytes,
        "rss_bytes": meta.rss_bytes,
        "objects": graph.len(),
        "references": graph.edge_count(),
        "bytes": graph.total().bytes,
        "opaque_bytes": graph.all_opaque().map(|(_, bytes)| bytes).fold(0, u64::saturating_add),
        "file_bytes": graph.file_bytes(),
        "types": type_rows(graph),
        "top": top.iter().map(|top| object(heap, *top)).collect::<Value>(),
    });
    write(&value, out)
}

fn type_rows(graph: &Graph) -> Value {
    let row = |row: memlens_heap::TypeTotal| {
        json!({
            "type": type_name(graph, row.type_id),
            "bytes": row.own.bytes,
            "count": row.own.count,
            "retained_bytes": row.retained_bytes,
        })
    };
    graph.by_type().into_iter().map(row).collect()
}

/// Writes `memlens.heap-types/1`.
pub fn write_types(heap: &Described<'_>, out: &mut dyn Write) -> io::Result<()> {
    write(&json!({ "schema": "memlens.heap-types/1", "types": type_rows(heap.graph) }), out)
}

/// Writes `memlens.heap-modules/1`.
pub fn write_modules(heap: &Described<'_>, out: &mut dyn Write) -> io::Result<()> {
    let rows = heap.graph.by_module();
    let row = |(holder, total): &(memlens_heap::Holder, Total)| {
        let is_module = matches!(holder, memlens_heap::Holder::Module(_));
        json!({ "name": heap.holder(*holder), "is_module": is_module, "bytes": total.bytes, "count": total.count })
    };
    write(&json!({ "schema": "memlens.heap-modules/1", "modules": rows.iter().map(row).collect::<Value>() }), out)
}

/// Writes `memlens.heap-top/1` with the objects given.
pub fn write_top(heap: &Described<'_>, objects: &[ObjectId], out: &mut dyn Write) -> io::Result<()> {
    let rows: Value = objects.iter().map(|top| object(heap, *top)).collect();
    write(&json!({ "schema": "memlens.heap-top/1", "objects": rows }), out)
}

/// Writes `memlens.heap-why/1`: each object with `paths`, shortest first; `cut_short`: the search for more gave up.
pub fn write_why(heap: &Described<'_>, answers: &[(ObjectId, Paths)], out: &mut dyn Write) -> io::Result<()> {
    let row = |(asked, paths): &(ObjectId, Paths)| {
        let mut row = object(heap, *asked);
        row["paths"] = paths.iter().map(|path| path_row(heap.graph, path)).collect();
        row["cut_short"] = paths.is_cut_short.into();
        row
    };
    let rows: Value = answers.iter().map(row).collect();
    write(&json!({ "schema": "memlens.heap-why/1", "objects": rows }), out)
}

/// A path's text and the addresses on it, the root's first.
fn path_row(graph: &Graph, path: &Path) -> Value {
    let addresses: Value = path.objects().map(|object| json!(address(graph, object))).collect();
    json!({ "text": graph.path_text(path), "addresses": addresses })
}

/// Writes `memlens.heap-cycles/1`, each with `way_round`, a shortest way from `start` back to it.
pub fn write_cycles(heap: &Described<'_>, cycles: &[Cycle], out: &mut dyn Write) -> io::Result<()> {
    let row = |cycle: &Cycle| {
        let (start, edges) = heap.graph.way_round(cycle);
        json!({
            "bytes": cycle.bytes,
            "objects": cycle.objects.len(),
            "unreachable": cycle.is_unreachable,
            "unseen_by_collector": cycle.is_unseen,
            "finalizer": cycle.has_finalizer,
            "weakref_callback": cycle.has_weakref_callback,
            "start": object(heap, start),
            "way_round": heap.graph.steps_text(&edges),
        })
    };
    write(&json!({ "schema": "memlens.heap-cycles/1", "cycles": cycles.iter().map(row).collect::<Value>() }), out)
}

/// Writes `memlens.heap-duplicates/1`, each group with its first object.
pub fn write_duplicates(heap: &Described<'_>, groups: &[Duplicates], out: &mut dyn Write) -> io::Result<()> {
    let row = |group: &Duplicates| {
        json!({
            "wasted_bytes": group.wasted_bytes,
            "count": group.objects.len(),
            "each_bytes": group.each_bytes,
            "first": object(heap, group.objects[0]),
        })
    };
    write(&json!({ "schema": "memlens.heap-duplicates/1", "groups": groups.iter().map(row).collect::<Value>() }), out)
}

/// Writes `memlens.heap-sparse/1`.
pub fn write_sparse(heap: &Described<'_>, facts: &[Fact], out: &mut dyn Write) -> io::Result<()> {
    let row = |fact: &Fact| {
        json!({
            "saved_bytes": fact.saved_bytes,
            "finding": fact_text(heap, fact.kind),
            "object": object(heap, fact.object),
        })
    };
    write(&json!({ "schema": "memlens.heap-sparse/1", "findings": facts.iter().map(row).collect::<Value>() }), out)
}

/// Writes `memlens.heap-suspects/1`.
pub fn write_suspects(heap: &Described<'_>, suspects: &[Suspect], out: &mut dyn Write) -> io::Result<()> {
    let child = |(id, count, retained): &(TypeId, u64, u64)| json!({ "type": type_name(heap.graph, *id), "count": count, "retained_bytes": retained });
    let row = |suspect: &Suspect| {
        json!({
            "retained_bytes": suspect.retained_bytes,
            "object": suspect.object.map(|found| object(heap, found)),
            "accumulation": suspect.accumulation.map(|found| object(heap, found)),
            "children": suspect.children.iter().map(child).collect::<Value>(),
        })
    };
    write(&json!({ "schema": "memlens.heap-suspects/1", "suspects": suspects.iter().map(row).collect::<Value>() }), out)
}

/// Writes `memlens.heap-diff/1`; objects are those of the later snapshot.
pub fn write_diff(heap: &Described<'_>, diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    let change = |change: &memlens_heap::TypeChange| {
        json!({
            "type": change.name,
            "before": total(change.before),
            "after": total(change.after),
            "new": total(change.new),
            "gone": total(change.gone),
        })
    };
    let holder = |growth: &memlens_heap::HolderGrowth| json!({ "holder": growth.holder.map(|holder| object(heap, holder)), "new": total(growth.new) });
    let grown = |grown: &memlens_heap::Grown| {
        json!({
            "object": object(heap, grown.object),
            "before_bytes": grown.before_bytes,
            "after_bytes": grown.after_bytes,
        })
    };
    let value = json!({
        "schema": "memlens.heap-diff/1",
        "before": total(diff.before),
        "after": total(diff.after),
        "new": total(diff.new),
        "gone": total(diff.gone),
        "types": diff.types.iter().map(change).collect::<Value>(),
        "holders": diff.holders.iter().map(holder).collect::<Value>(),
        "grown": diff.grown.iter().map(grown).collect::<Value>(),
    });
    write(&value, out)
}
