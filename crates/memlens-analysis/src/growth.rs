//! Which of the user's own lines grew in a stretch of time.
use crate::profile::{LineId, Profile};
use crate::summary::owners_of_nodes;
use std::cmp::Reverse;

/// How much more a line held at the end of a stretch of time than at its beginning, with what it called in libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineGrowth {
    /// The line; `None` for what no line of the user's asked for.
    pub line: Option<LineId>,
    /// Bytes, more than 0.
    pub bytes: u64,
}

/// The lines whose live heap grew in the slices that end after `from_ns` and not after `to_ns`, largest first. Empty without slices.
pub fn growth(profile: &Profile, from_ns: u64, to_ns: u64) -> Vec<LineGrowth> {
    let owners = owners_of_nodes(profile);
    let mut change = vec![0i64; profile.lines().len() + 1];
    let slices = profile.slices().iter().filter(|slice| slice.time_ns > from_ns && slice.time_ns <= to_ns);
    for each in slices.flat_map(|slice| &slice.changes) {
        let site = &profile.sites()[each.site.0 as usize];
        if site.allocator.is_heap() {
            let owner = site.node.and_then(|node| owners[node.0 as usize]);
            let index = owner.map_or(profile.lines().len(), |line| line.0 as usize);
            change[index] = change[index].saturating_add(each.live_bytes);
        }
    }
    let line = |index: usize| (index < profile.lines().len()).then_some(LineId(index as u32));
    let grown = (0..).zip(change).filter_map(|(index, bytes)| Some((line(index), u64::try_from(bytes).ok()?)));
    let mut lines: Vec<LineGrowth> =
        grown.filter(|(_, bytes)| *bytes > 0).map(|(line, bytes)| LineGrowth { line, bytes }).collect();
    lines.sort_by_key(|growth| (growth.line.is_none(), Reverse(growth.bytes), growth.line));
    lines
}
