//! The references seen from where they lead.
use crate::{Edge, Graph, ObjectId};

/// For each object those that refer to it.
#[derive(Debug)]
pub struct Referrers {
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Referrers {
    /// Turns all references around: 4 bytes an object and a reference.
    pub(crate) fn new(graph: &Graph) -> Self {
        let mut starts = vec![0_u32; graph.len() + 1];
        for object in graph.objects() {
            graph.successors(object).for_each(|to| starts[to.index()] += 1);
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut list = vec![0; sum as usize];
        for object in graph.objects().rev() {
            for to in graph.successors(object) {
                let start = &mut starts[to.index()];
                *start -= 1;
                list[*start as usize] = object.0;
            }
        }
        Self { starts, list }
    }

    /// Those that refer to the object, by number; one that does so twice stands there twice.
    pub fn of(&self, object: ObjectId) -> impl ExactSizeIterator<Item = ObjectId> {
        let range = self.starts[object.index()] as usize..self.starts[object.index() + 1] as usize;
        self.list[range].iter().map(|from| ObjectId(*from))
    }
}

impl Graph {
    /// The first reference that leads from one object to the other.
    pub fn edge_between(&self, from: ObjectId, to: ObjectId) -> Option<Edge> {
        self.edges(from).find(|edge| edge.to == to)
    }
}
