//! The call tree from top to bottom.
use crate::profile::ProfileNode;
use memlens_format::capture::NodeId;

const NONE: u32 = u32::MAX;

/// A step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To a node from its caller.
    Enter(NodeId),
    /// Back from a node, after its callees.
    Leave(NodeId),
}

/// For each node its callees, in order of their ids.
pub(crate) struct Callees {
    first: Vec<u32>,
    next: Vec<u32>,
    first_root: u32,
}

impl Callees {
    /// Takes one pass over the nodes.
    pub(crate) fn new(nodes: &[ProfileNode]) -> Self {
        let mut callees = Self {
            first: vec![NONE; nodes.len()],
            next: vec![NONE; nodes.len()],
            first_root: NONE,
        };
        for (index, node) in nodes.iter().enumerate().rev() {
            let head = match node.parent {
                Some(parent) => &mut callees.first[parent.0 as usize],
                None => &mut callees.first_root,
            };
            callees.next[index] = *head;
            *head = index as u32;
        }
        callees
    }

    /// Enters and leaves every node once, callees between the two.
    pub(crate) fn walk(&self, nodes: &[ProfileNode], mut step: impl FnMut(Step)) {
        let mut node = self.first_root;
        while node != NONE {
            step(Step::Enter(NodeId(node)));
            if self.first[node as usize] != NONE {
                node = self.first[node as usize];
                continue;
            }
            node = loop {
                step(Step::Leave(NodeId(node)));
                if self.next[node as usize] != NONE {
                    break self.next[node as usize];
                }
                match nodes[node as usize].parent {
                    Some(parent) => node = parent.0,
                    None => break NONE,
                }
            };
        }
    }
}
