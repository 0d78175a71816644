//! How an object is named to people, the same in every rendering.
use crate::label::one_line;
use memlens_heap::{Dominators, Graph, Holder, ObjectId, ShortestPaths, TypeId};
use rustc_hash::FxHashMap;
use std::cell::OnceCell;

/// Longest preview of a value, in characters.
const LONGEST_VALUE: usize = 40;

/// A graph with what all tables about it need.
pub struct Described<'g> {
    /// The graph.
    pub graph: &'g Graph,
    paths: OnceCell<ShortestPaths<'g>>,
    classes: OnceCell<FxHashMap<ObjectId, TypeId>>,
}

impl<'g> Described<'g> {
    /// Computes nothing yet.
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph, paths: OnceCell::new(), classes: OnceCell::new() }
    }

    pub(super) fn dominators(&self) -> &'g Dominators {
        self.graph.dominators()
    }

    pub(super) fn retained(&self, object: ObjectId) -> u64 {
        self.dominators().retained_bytes(object)
    }

    /// A shortest path to the object.
    pub(super) fn path(&self, object: ObjectId) -> String {
        one_line(&self.paths.get_or_init(|| ShortestPaths::new(self.graph)).text(object))
    }

    /// The full name of the object's type.
    pub(super) fn type_name(&self, object: ObjectId) -> String {
        one_line(&self.graph.type_name(self.graph.type_id(object)))
    }

    /// `dict`, `str 'hello'`, `frame main:12`, `type app.Session`.
    pub(super) fn label(&self, object: ObjectId) -> String {
        let type_name = self.type_name(object);
        match (self.graph.frame(object), self.graph.text(object)) {
            (Some(frame), _) => format!("{type_name} {}:{}", one_line(self.graph.name(frame.function)), frame.line),
            (None, Some(text)) => format!("{type_name} {}", shortened(text)),
            (None, None) => match self.class_name(object) {
                Some(name) => format!("{type_name} {name}"),
                None => type_name,
            },
        }
    }

    /// The name of the class that the object is, if it has instances.
    fn class_name(&self, object: ObjectId) -> Option<String> {
        let classes = self.classes.get_or_init(|| {
            let types = (0..).map(TypeId).zip(self.graph.types());
            types.filter_map(|(id, type_)| Some((type_.class?, id))).collect()
        });
        classes.get(&object).map(|id| one_line(&self.graph.type_name(*id)))
    }

    pub(super) fn holder(&self, holder: Holder) -> String {
        match holder {
            Holder::Module(name) => one_line(self.graph.name(name)),
            Holder::Thread(name) => format!("(frames of {})", one_line(self.graph.name(name))),
            Holder::Interpreter => "(the interpreter)".to_owned(),
            Holder::C => "(held by C)".to_owned(),
            Holder::Nothing => "(nothing: waits for the collector)".to_owned(),
        }
    }
}

fn shortened(text: &str) -> String {
    crate::label::cut_end(&one_line(text), LONGEST_VALUE)
}

/// `0x7f1234567890`.
pub(super) fn address(graph: &Graph, object: ObjectId) -> String {
    format!("{:#x}", graph.address(object))
}
