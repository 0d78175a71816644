//! The dominator tree from above: whom each object keeps alive alone.
use crate::preorder::NONE;
use crate::{Graph, ObjectId};

/// The objects that each object dominates immediately.
#[derive(Debug)]
pub struct DominatorTree {
    /// Where each object's children begin; those of the root of all roots come last.
    starts: Vec<u32>,
    children: Vec<u32>,
}

impl DominatorTree {
    /// Sorts the objects by their immediate dominators: 8 bytes an object.
    pub(crate) fn new(graph: &Graph) -> Self {
        let parents = graph.dominators().parents();
        let row = |parent: u32| if parent == NONE { parents.len() } else { parent as usize };
        let mut starts = vec![0_u32; parents.len() + 2];
        parents.iter().for_each(|parent| starts[row(*parent)] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut children = vec![0; parents.len()];
        for (child, parent) in parents.iter().enumerate().rev() {
            let start = &mut starts[row(*parent)];
            *start -= 1;
            children[*start as usize] = child as u32;
        }
        Self { starts, children }
    }

    fn row(&self, row: usize) -> &[u32] {
        &self.children[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// What the object dominates immediately, by number.
    pub fn children(&self, object: ObjectId) -> impl ExactSizeIterator<Item = ObjectId> + Clone {
        self.row(object.index()).iter().map(|child| ObjectId(*child))
    }

    /// What no object dominates.
    pub fn tops(&self) -> impl ExactSizeIterator<Item = ObjectId> + Clone {
        self.row(self.starts.len() - 2).iter().map(|child| ObjectId(*child))
    }
}

/// A step of a walk through the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    Enter(ObjectId),
    Leave(ObjectId),
}

impl DominatorTree {
    /// Walks the whole tree, dominators around what they dominate.
    pub(crate) fn walk(&self, mut visit: impl FnMut(Visit)) {
        let mut waiting: Vec<Visit> = self.tops().map(Visit::Enter).collect();
        while let Some(step) = waiting.pop() {
            visit(step);
            if let Visit::Enter(object) = step {
                waiting.push(Visit::Leave(object));
                waiting.extend(self.children(object).map(Visit::Enter));
            }
        }
    }
}
