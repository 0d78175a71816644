//! The nodes of a capture, each once.
//!
//! A process' own nodes differ among each other, but for those that its tables tell apart and a capture does not. So of a recording of one process
//! next to none is looked up: there may be hundreds of thousands, and a hash table of them took 20 of the 115 ms that memlens uses for flights.
use memlens_format::capture::Node;
use rustc_hash::FxHashMap;

/// Gives equal nodes the same number, counting from 0.
#[derive(Default)]
pub struct NodeTable {
    nodes: Vec<Node>,
    /// Those among `nodes` that another may be equal to.
    ids: FxHashMap<Node, u32>,
}

impl NodeTable {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Makes room for `additional` more, which may be equal to any that is there.
    pub fn begin_process(&mut self, additional: usize) {
        if !self.nodes.is_empty() {
            self.ids.reserve(self.nodes.len() + additional - self.ids.len());
            for (id, &node) in (0..).zip(&self.nodes) {
                self.ids.entry(node).or_insert(id);
            }
        }
        self.nodes.reserve(additional);
    }

    /// The number of a node that may be there already, or may come again.
    pub fn intern(&mut self, node: Node) -> u32 {
        let next = self.nodes.len() as u32;
        let id = *self.ids.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }

    /// The number of a node that is not there and does not come again in this process.
    pub fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The nodes in the order of their numbers.
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }
}
