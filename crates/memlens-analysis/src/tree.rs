//! The call tree at the peak.
use crate::profile::{LineId, Profile};
use memlens_format::capture::NodeId;
use std::cmp::Reverse;

/// The call tree at the peak: the stacks of all bytes of the heap then live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTree {
    /// The nodes that held anything, callers before callees.
    pub nodes: Vec<TreeNode>,
    /// Indices of the outermost frames, largest first.
    pub roots: Vec<usize>,
    /// Bytes live at the peak.
    pub bytes: u64,
    /// Bytes among them that were allocated where no Python frame was running.
    pub outside_bytes: u64,
}

/// A line in the context of its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// The line.
    pub line: LineId,
    /// Index of the caller.
    pub parent: Option<usize>,
    /// Bytes held, callees included.
    pub bytes: u64,
    /// Blocks held, callees included.
    pub count: u64,
    /// Bytes held, callees left out.
    pub own_bytes: u64,
    /// Indices of the callees, largest first.
    pub callees: Vec<usize>,
}

impl CallTree {
    /// The tree of a profile.
    pub fn new(profile: &Profile) -> Self {
        let mut bytes = vec![(0u64, 0u64, 0u64); profile.nodes().len()];
        let mut tree = Self::default();
        for site in profile
            .sites()
            .iter()
            .filter(|site| site.allocator.is_heap())
        {
            tree.bytes = tree.bytes.saturating_add(site.peak_bytes);
            match site.node {
                Some(NodeId(node)) => {
                    let (own, inclusive, count) = &mut bytes[node as usize];
                    *own = own.saturating_add(site.peak_bytes);
                    *inclusive = inclusive.saturating_add(site.peak_bytes);
                    *count = count.saturating_add(site.peak_count);
                }
                None => tree.outside_bytes = tree.outside_bytes.saturating_add(site.peak_bytes),
            }
        }
        for (index, node) in profile.nodes().iter().enumerate().rev() {
            if let Some(NodeId(parent)) = node.parent {
                let (_, callee_bytes, callee_count) = bytes[index];
                let (_, inclusive, count) = &mut bytes[parent as usize];
                *inclusive = inclusive.saturating_add(callee_bytes);
                *count = count.saturating_add(callee_count);
            }
        }
        tree.keep(profile, &bytes);
        tree
    }

    /// Takes over the nodes that held anything.
    fn keep(&mut self, profile: &Profile, bytes: &[(u64, u64, u64)]) {
        let mut kept: Vec<Option<usize>> = Vec::with_capacity(bytes.len());
        for (node, &(own_bytes, bytes, count)) in profile.nodes().iter().zip(bytes) {
            if bytes == 0 {
                kept.push(None);
                continue;
            }
            let parent = node.parent.and_then(|parent| kept[parent.0 as usize]);
            let index = self.nodes.len();
            kept.push(Some(index));
            self.nodes.push(TreeNode {
                line: node.line,
                parent,
                bytes,
                count,
                own_bytes,
                callees: Vec::new(),
            });
            match parent {
                Some(parent) => self.nodes[parent].callees.push(index),
                None => self.roots.push(index),
            }
        }
        let sizes: Vec<u64> = self.nodes.iter().map(|node| node.bytes).collect();
        for node in &mut self.nodes {
            node.callees.sort_by_key(|callee| Reverse(sizes[*callee]));
        }
        self.roots.sort_by_key(|root| Reverse(sizes[*root]));
    }
}
