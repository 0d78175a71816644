//! The whole heap as a graph.
use crate::collector;
use crate::dict;
use crate::graph_walk::GraphWalk;
use crate::heap_count;
use crate::interpreter::Interpreter;
use crate::object::Object;
use crate::rule;
use crate::text;
use crate::thread::{self, InterpreterFrame, Thread};
use crate::type_facts::Kind;
use memlens_heap::{BuildError, Graph, Meta, RootKind};
use pyo3::ffi;
use pyo3::prelude::*;
use std::collections::HashMap;

/// What the Python side knows.
pub struct Caller {
    /// Names of threads by their `ident`.
    pub thread_names: HashMap<u64, String>,
    /// Frames of files in this folder are memlens's own, and left out.
    pub folder: String,
    /// They were called from code that a debugger's request ran, whose one frame is left out as well.
    pub is_injected: bool,
}

impl Caller {
    /// How many of the innermost frames of the calling thread are not the program's.
    fn own_frames(&self, frames: &[InterpreterFrame]) -> usize {
        let own = frames.iter().take_while(|frame| frame.file.starts_with(&self.folder)).count();
        own + usize::from(self.is_injected && own > 0)
    }
}

/// Walks the heap.
pub fn graph(python: Python<'_>, interpreter: &Interpreter, meta: Meta, caller: &Caller) -> Result<Graph, BuildError> {
    // Counted here, not before a fork: the program need not stand still for it.
    let meta = Meta { heap_bytes: heap_count::live_bytes(), ..meta };
    let mut walk = GraphWalk::new(interpreter, None, meta);
    add_threads(&mut walk, caller);
    add_modules(&mut walk);
    walk.run();
    collector::each_tracked(interpreter, |object| {
        walk.add(object);
    });
    walk.run();
    for (object, count) in walk.held_outside() {
        walk.builder().root(object, RootKind::HeldByC(count));
    }
    walk.add_buffers(python);
    walk.into_builder().finish()
}

fn add_threads(walk: &mut GraphWalk<'_>, caller: &Caller) {
    let mut threads: Vec<Thread> = thread::all(walk.types());
    let mut own = Vec::new();
    for thread in &mut threads {
        let others = thread.frames.split_off(caller.own_frames(&thread.frames).min(thread.frames.len()));
        own.extend(std::mem::replace(&mut thread.frames, others));
    }
    for thread in &threads {
        let name = caller.thread_names.get(&thread.ident).cloned().unwrap_or_else(|| thread.ident.to_string());
        thread.frames.iter().for_each(|frame| walk.add_frame(frame, &name));
    }
    let namespaces = rule::module_dicts(walk.types());
    for thread in &threads {
        walk.visit_frames(&thread.frames, &namespaces);
    }
    walk.explain_frames(&own);
}

/// Each module of `sys.modules` is a root under its name there.
fn add_modules(walk: &mut GraphWalk<'_>) {
    // SAFETY: we hold the GIL; the result is borrowed.
    let Some(modules) = Object::at(unsafe { ffi::PyImport_GetModuleDict() } as usize) else {
        return;
    };
    let layout = walk.types().interpreter.layout;
    let mut entries = Vec::new();
    if walk.types().of(modules.type_of()).kind == Kind::Dict {
        // SAFETY: it is a dict.
        unsafe { dict::items(modules, layout, |name, module| entries.push((name, module))) };
    }
    for (name, module) in entries {
        let facts = walk.types().of(name.type_of());
        if facts.kind != Kind::Str || walk.types().of(module.type_of()).is_leaf {
            continue;
        }
        // SAFETY: it is a str.
        let name = unsafe { text::of_str(name, layout, 1000) };
        let id = walk.add(module);
        let name = walk.builder().name(&name);
        walk.builder().root(id, RootKind::Module(name));
    }
}
