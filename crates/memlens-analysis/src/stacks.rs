//! Bytes by stack, for tools that draw stacks.
use crate::profile::Profile;
use memlens_format::capture::NodeId;

/// Which bytes of a stack are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Live at the peak.
    #[default]
    Peak,
    /// Allocated over the whole recording.
    Allocated,
    /// Live at the end.
    End,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 3] = [Self::Peak, Self::Allocated, Self::End];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peak => "at peak",
            Self::Allocated => "allocated",
            Self::End => "live at end",
        }
    }
}

/// A stack, over all processes and allocators of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackBytes {
    /// The innermost frame; `None` where no Python frame was running.
    pub node: Option<NodeId>,
    /// The bytes measured, never 0.
    pub bytes: u64,
}

impl Profile {
    /// Every stack for which the measure is not 0, in order of the nodes; the one without a node comes last.
    pub fn stacks(&self, measure: Measure) -> Vec<StackBytes> {
        let outside = self.nodes().len();
        let mut sums = vec![0u64; outside + 1];
        for site in self.sites().iter().filter(|site| site.allocator.is_heap()) {
            let bytes = match measure {
                Measure::Peak => site.peak_bytes,
                Measure::Allocated => site.allocated_bytes,
                Measure::End => site.live_bytes,
            };
            let sum = &mut sums[site.node.map_or(outside, |node| node.0 as usize)];
            *sum = sum.saturating_add(bytes);
        }
        let stack = |(index, bytes): (usize, u64)| StackBytes {
            node: (index < outside).then_some(NodeId(index as u32)),
            bytes,
        };
        sums.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0).map(stack).collect()
    }
}
