//! The graph as Python sees it: questions by address, answers as plain tuples.
use crate::error;
use crate::fork;
use crate::heap::{self, Caller};
use crate::interpreter;
use memlens_heap::{Diff, FactKind, Graph, Holder, Meta, ObjectId, ShortestPaths, Total};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

/// A heap at one moment.
#[pyclass(frozen, module = "memlens._native")]
pub struct Heap {
    graph: Graph,
    /// Seconds for which the program stood still.
    pause_s: f64,
}

/// What the Python side knows of the process: threads by their ident, its own folder, version, command.
type Known = (HashMap<u64, String>, String, String, Vec<String>);
/// Address, type, own bytes, retained bytes, path.
type ObjectRow = (u64, String, u64, u64, String);

/// Takes a snapshot of this process.
#[pyfunction]
pub fn take(python: Python<'_>, fork: bool, known: Known) -> PyResult<Heap> {
    let (thread_names, folder, version, command) = known;
    let meta = Meta { python: version, command, ..meta() };
    let caller = Caller { thread_names, folder, is_injected: false };
    let interpreter = interpreter(python)?;
    let start = Instant::now();
    if fork {
        let forked = fork::graph(python, interpreter, meta, &caller);
        let (graph, pause) = forked.map_err(|message| error::other(python, &message))?;
        return Ok(Heap { graph, pause_s: pause.as_secs_f64() });
    }
    let graph = heap::graph(python, interpreter, meta, &caller);
    let graph = graph.map_err(|failure| error::other(python, &failure.to_string()))?;
    Ok(Heap { graph, pause_s: start.elapsed().as_secs_f64() })
}

/// Has a forked child write a snapshot into a folder: what `memlens heap PID` asks a program for.
#[pyfunction]
pub fn take_into(python: Python<'_>, folder: PathBuf, known: Known) -> PyResult<()> {
    let (thread_names, own_folder, version, command) = known;
    let meta = Meta { python: version, command, ..meta() };
    let caller = Caller { thread_names, folder: own_folder, is_injected: true };
    fork::to_file(python, meta, &caller, &folder).map_err(PyRuntimeError::new_err)
}

/// Process id, time and resident set.
fn meta() -> Meta {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    // SAFETY: a plain question.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs();
    Meta {
        pid: std::process::id(),
        time_unix_ns: since.as_nanos() as u64,
        rss_bytes: pages.map(|pages| pages * page_bytes),
        ..Meta::default()
    }
}

/// Reads a snapshot's file.
#[pyfunction]
pub fn load(python: Python<'_>, path: PathBuf) -> PyResult<Heap> {
    let graph = python.detach(|| memlens_heap::load(&path));
    let graph = graph.map_err(|failure| error::file(python, &failure.to_string()))?;
    Ok(Heap { graph, pause_s: 0.0 })
}

#[pymethods]
impl Heap {
    fn __len__(&self) -> usize {
        self.graph.len()
    }

    #[getter]
    fn pause_s(&self) -> f64 {
        self.pause_s
    }

    /// Objects and bytes; opaque bytes; the allocators' own count, if it was known; the resident set.
    fn coverage(&self) -> (u64, u64, u64, Option<u64>, Option<u64>) {
        let Total { bytes, count } = self.graph.total();
        let opaque = self.graph.all_opaque().map(|(_, bytes)| bytes).sum();
        let meta = self.graph.meta();
        (count, bytes, opaque, meta.heap_bytes, meta.rss_bytes)
    }

    /// Bytes that go when the object at this address goes; nothing if there is none.
    fn retained(&self, python: Python<'_>, address: u64) -> Option<u64> {
        python.detach(|| {
            let object = self.graph.object_at(address)?;
            Some(self.graph.dominators().retained_bytes(object))
        })
    }

    /// The shortest paths to the object at this address, and whether the search for more gave up.
    fn why(&self, python: Python<'_>, address: u64, count: usize) -> Option<(Vec<String>, bool)> {
        python.detach(|| {
            let object = self.graph.object_at(address)?;
            let found = self.graph.why(object, count);
            Some((found.iter().map(|path| self.graph.path_text(path)).collect(), found.is_cut_short))
        })
    }

    /// The objects that retain most.
    fn top(&self, python: Python<'_>, count: usize) -> Vec<ObjectRow> {
        python.detach(|| {
            let paths = ShortestPaths::new(&self.graph);
            self.graph.top_without_wrappers(count).into_iter().map(|object| self.row(object, &paths)).collect()
        })
    }

    /// Type, objects, own bytes, retained bytes.
    fn by_type(&self, python: Python<'_>) -> Vec<(String, u64, u64, u64)> {
        let row = |total: memlens_heap::TypeTotal| {
            (self.graph.type_name(total.type_id), total.own.count, total.own.bytes, total.retained_bytes)
        };
        python.detach(|| self.graph.by_type().into_iter().map(row).collect())
    }

    /// Module or other holder, objects, bytes.
    fn by_module(&self, python: Python<'_>) -> Vec<(String, u64, u64)> {
        let rows = python.detach(|| self.graph.by_module());
        rows.into_iter().map(|(holder, total)| (self.holder(holder), total.count, total.bytes)).collect()
    }

    /// Addresses, bytes, what is remarkable, a way round.
    fn cycles(&self, python: Python<'_>) -> Vec<(Vec<u64>, u64, Vec<&'static str>, String)> {
        python.detach(|| {
            let cycles = self.graph.cycles().into_iter().filter(|cycle| !cycle.holds_module && !cycle.holds_class);
            cycles.map(|cycle| self.cycle_row(&cycle)).collect()
        })
    }

    /// Type, addresses, bytes of each, wasted bytes, a value.
    fn duplicates(&self, python: Python<'_>) -> Vec<(String, Vec<u64>, u64, u64)> {
        let row = |group: memlens_heap::Duplicates| {
            let addresses = group.objects.iter().map(|object| self.graph.address(*object)).collect();
            (self.graph.type_name(group.type_id), addresses, group.each_bytes, group.wasted_bytes)
        };
        python.detach(|| self.graph.duplicates().into_iter().map(row).collect())
    }

    /// Address, type, what was found, bytes that could be saved.
    fn sparse(&self, python: Python<'_>) -> Vec<(u64, String, String, u64)> {
        let row = |fact: memlens_heap::Fact| {
            let type_name = self.graph.type_name(self.graph.type_id(fact.object));
            (self.graph.address(fact.object), type_name, self.finding(fact.kind), fact.saved_bytes)
        };
        python.detach(|| self.graph.sparse().into_iter().map(row).collect())
    }

    /// Retained bytes, the object, where it gathers, what lies right below: type, objects, bytes.
    #[allow(clippy::type_complexity)]
    fn suspects(
        &self,
        python: Python<'_>,
    ) -> Vec<(u64, Option<ObjectRow>, Option<ObjectRow>, Vec<(String, u64, u64)>)> {
        let row = |suspect: memlens_heap::Suspect, paths: &ShortestPaths<'_>| {
            let children = suspect.children.into_iter();
            let children = children.map(|(type_, count, bytes)| (self.graph.type_name(type_), count, bytes)).collect();
            let object = |object: Option<ObjectId>| object.map(|object| self.row(object, paths));
            (suspect.retained_bytes, object(suspect.object), object(suspect.accumulation), children)
        };
        python.detach(|| {
            let paths = ShortestPaths::new(&self.graph);
            self.graph.suspects().into_iter().map(|suspect| row(suspect, &paths)).collect()
        })
    }

    /// What changed since an earlier snapshot.
    fn diff(&self, python: Python<'_>, before: &Self) -> DiffRows {
        python.detach(|| {
            let diff = self.graph.diff(&before.graph);
            DiffRows::new(self, diff)
        })
    }

    /// Writes the snapshot's file; an existing one is replaced only when `force` says so.
    fn save(&self, python: Python<'_>, path: PathBuf, force: bool) -> PyResult<()> {
        let saved = python.detach(|| {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).create_new(!force);
            let file = options.open(&path).map_err(|failure| format!("cannot write {}: {failure}", path.display()))?;
            let mut out = BufWriter::new(file);
            self.graph.save(&mut out).map_err(|failure| failure.to_string())?;
            out.flush().map_err(|failure| format!("cannot write {}: {failure}", path.display()))
        });
        saved.map_err(|message| error::file(python, &message))
    }
}

impl Heap {
    fn row(&self, object: ObjectId, paths: &ShortestPaths<'_>) -> ObjectRow {
        let graph = &self.graph;
        let path = paths.text(object);
        let type_name = graph.type_name(graph.type_id(object));
        let retained = graph.dominators().retained_bytes(object);
        (graph.address(object), type_name, graph.own_bytes(object), retained, path)
    }

    fn holder(&self, holder: Holder) -> String {
        match holder {
            Holder::Module(name) => self.graph.name(name).to_owned(),
            Holder::Thread(name) => format!("<thread {}>", self.graph.name(name)),
            Holder::Interpreter => "<interpreter>".into(),
            Holder::C => "<held by C>".into(),
            Holder::Nothing => "<unreachable>".into(),
        }
    }

    fn cycle_row(&self, cycle: &memlens_heap::Cycle) -> (Vec<u64>, u64, Vec<&'static str>, String) {
        let remarks = [
            (cycle.is_unreachable, "unreachable"),
            (cycle.is_unseen, "never collected"),
            (cycle.has_finalizer, "__del__"),
            (cycle.has_weakref_callback, "weakref callback"),
        ];
        let remarks = remarks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text).collect();
        let (start, edges) = self.graph.way_round(cycle);
        let way = format!("<{}>{}", self.graph.type_name(self.graph.type_id(start)), self.graph.steps_text(&edges));
        let addresses = cycle.objects.iter().map(|object| self.graph.address(*object)).collect();
        (addresses, cycle.bytes, remarks, way)
    }

    fn finding(&self, kind: FactKind) -> String {
        match kind {
            FactKind::OverAllocated { used, capacity } => format!("holds {used} elements, has room for {capacity}"),
            FactKind::FitsSmaller { element } => format!("every value fits {}", self.graph.name(element)),
            FactKind::UsesPartOf { used } => format!("kept alive by views that show {used} bytes of it"),
            FactKind::WeakrefCallback => "a weak reference to it has a callback".into(),
        }
    }
}

/// A difference: totals, then types, holders and grown objects.
#[derive(IntoPyObject)]
pub struct DiffRows {
    totals: HashMap<&'static str, (u64, u64)>,
    /// Type, and objects and bytes before, after, new and gone.
    types: Vec<(String, [(u64, u64); 4])>,
    /// Path of the holder, objects, bytes.
    holders: Vec<(String, u64, u64)>,
    /// Address, type, bytes before and after, path.
    grown: Vec<(u64, String, u64, u64, String)>,
}

impl DiffRows {
    fn new(heap: &Heap, diff: Diff) -> Self {
        let pair = |total: Total| (total.count, total.bytes);
        let totals = [("before", diff.before), ("after", diff.after), ("new", diff.new), ("gone", diff.gone)];
        let types = diff.types.into_iter();
        let paths = ShortestPaths::new(&heap.graph);
        Self {
            totals: totals.into_iter().map(|(name, total)| (name, pair(total))).collect(),
            types: types.map(|row| (row.name, [row.before, row.after, row.new, row.gone].map(pair))).collect(),
            holders: diff
                .holders
                .into_iter()
                .map(|row| {
                    let path = row.holder.map_or_else(|| "<several>".into(), |holder| paths.text(holder));
                    (path, row.new.count, row.new.bytes)
                })
                .collect(),
            grown: diff
                .grown
                .into_iter()
                .map(|row| {
                    let (address, type_name, _, _, path) = heap.row(row.object, &paths);
                    (address, type_name, row.before_bytes, row.after_bytes, path)
                })
                .collect(),
        }
    }
}
