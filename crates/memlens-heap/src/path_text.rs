//! Paths as a person can paste them: `app.cache.SESSIONS['u1'].df['price']`, `main:12 local rows[3]`.
use crate::path::Path;
use crate::{Edge, EdgeKind, Graph, ObjectId, Root, RootKind};
use std::fmt::Write;

impl Graph {
    /// The path as an expression, as far as Python has one for each step; what it has none for stands in `<>`.
    pub fn path_text(&self, path: &Path) -> String {
        let mut text = self.root_text(path.root);
        self.write_edges(&path.edges, &mut text);
        text
    }

    /// The steps alone, as they follow an object: `.df['price']`.
    pub fn steps_text(&self, edges: &[Edge]) -> String {
        let mut text = String::new();
        self.write_edges(edges, &mut text);
        text
    }

    /// What holds the root, or the module's name.
    pub fn root_text(&self, root: Root) -> String {
        let type_name = || self.type_name(self.type_id(root.object));
        match root.kind {
            RootKind::Module(name) => self.name(name).to_owned(),
            RootKind::Frame { thread } => self.frame_text(root.object, self.name(thread)),
            RootKind::Interpreter(name) => format!("<interpreter: {}>", self.name(name)),
            RootKind::HeldByC(1) => format!("<{} held by C>", type_name()),
            RootKind::HeldByC(count) => format!("<{} held by C, {count} references>", type_name()),
            RootKind::Unreachable => format!("<unreachable {}>", type_name()),
        }
    }

    fn frame_text(&self, object: ObjectId, thread: &str) -> String {
        let place = match self.frame(object) {
            Some(frame) => format!("{}:{}", self.name(frame.function), frame.line),
            None => "<frame>".to_owned(),
        };
        if thread == "MainThread" { place } else { format!("{place} (thread {thread})") }
    }

    fn write_edges(&self, edges: &[Edge], text: &mut String) {
        let mut after_dict = false;
        for (at, edge) in edges.iter().enumerate() {
            let next_is_name = edges.get(at + 1).is_some_and(|next| self.plain_key(*next).is_some());
            let is_dict = self.edge_text(*edge) == "__dict__" && edge.name.kind() == EdgeKind::Attribute;
            match self.plain_key(*edge).filter(|_| after_dict) {
                Some(name) => _ = write!(text, ".{name}"),
                None if is_dict && next_is_name => {}
                None => self.write_edge(*edge, text),
            }
            after_dict = is_dict && next_is_name;
        }
    }

    /// `SESSIONS` of a reference by the key `'SESSIONS'`, if it may stand behind a dot.
    fn plain_key(&self, edge: Edge) -> Option<&str> {
        let key = Some(self.edge_text(edge)).filter(|_| edge.name.kind() == EdgeKind::Key)?;
        let name = key.strip_prefix('\'')?.strip_suffix('\'')?;
        let is_letter =
            |(at, letter): (usize, char)| letter == '_' || letter.is_alphabetic() || at > 0 && letter.is_numeric();
        (!name.is_empty() && name.char_indices().all(is_letter)).then_some(name)
    }

    fn edge_text(&self, edge: Edge) -> &str {
        edge.name.name().map_or("", |name| self.name(name))
    }

    fn write_edge(&self, edge: Edge, text: &mut String) {
        let name = self.edge_text(edge);
        // Writing to a string cannot fail.
        _ = match edge.name.kind() {
            EdgeKind::Index => write!(text, "[{}]", edge.name.index_value()),
            EdgeKind::Attribute | EdgeKind::Global => write!(text, ".{name}"),
            EdgeKind::Key => write!(text, "[{name}]"),
            EdgeKind::KeyObject => write!(text, "<key {name}>"),
            EdgeKind::Member => write!(text, "<member>"),
            EdgeKind::Local => write!(text, " local {name}"),
            EdgeKind::Cell => write!(text, "<closure over {name}>"),
            EdgeKind::Class => write!(text, ".__class__"),
            EdgeKind::Buffer => write!(text, "<buffer>"),
            EdgeKind::Hidden => write!(text, "<C field>"),
        };
    }
}
