//! `memlens tree`.
//!
//! A branch is a line in the context of its callers. Small branches are hidden and counted. A run of calls that hands on all
//! that it holds is one chain: it is not indented, and if it is long, its middle is left out.
use super::Options;
use super::paint::{Ink, paint};
use crate::human::{bytes, counted, duration, share};
use crate::label::{NO_FRAME, cut_end, place};
use memlens_analysis::{CallTree, Profile};
use std::io::{self, Write};

/// Columns left of the tree.
const INDENT: usize = 20;
/// Branches deeper than this are not indented further.
const DEEPEST: usize = 10;
/// Longest chain that is shown whole.
const WHOLE_CHAIN: usize = 3;

/// Writes the tree, its largest branches first.
pub fn write_tree(profile: &Profile, tree: &CallTree, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let held = bytes(tree.bytes);
    let heading = match profile.processes().len() {
        0..=1 => format!("Call tree at the peak: {held} at {}", duration(profile.meta().peak_time_ns)),
        several => format!("Call tree at the peak of each of {several} processes: {held} in all"),
    };
    writeln!(out, "{}", paint(options, Ink::Bold, &heading))?;
    writeln!(out, "{}", paint(options, Ink::Dim, "     BYTES   SHARE  CALLS"))?;
    let mut drawing = Drawing::new(profile, tree, options);
    drawing.draw(out)?;
    if tree.outside_bytes > 0 {
        let figures = figures(tree.outside_bytes, tree.bytes);
        writeln!(out, "{figures}{NO_FRAME}")?;
    }
    drawing.write_hidden(out)
}

/// A branch that waits to be drawn.
struct Branch {
    node: usize,
    depth: usize,
}

struct Drawing<'t> {
    profile: &'t Profile,
    tree: &'t CallTree,
    options: &'t Options,
    threshold: u64,
    hidden_branches: u64,
    hidden_bytes: u64,
}

impl<'t> Drawing<'t> {
    fn new(profile: &'t Profile, tree: &'t CallTree, options: &'t Options) -> Self {
        let permille = u128::from(options.hidden_below_permille);
        let threshold = (u128::from(tree.bytes) * permille).div_ceil(1000) as u64;
        Self { profile, tree, options, threshold: threshold.max(1), hidden_branches: 0, hidden_bytes: 0 }
    }

    /// A stack instead of recursion: a tree may be as deep as it has nodes.
    fn draw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut waiting = Vec::new();
        self.push(&self.tree.roots, 0, &mut waiting);
        while let Some(branch) = waiting.pop() {
            let last = self.draw_chain(&branch, out)?;
            let node = &self.tree.nodes[last];
            self.push(&node.callees, branch.depth + 1, &mut waiting);
        }
        Ok(())
    }

    /// Puts branches on the stack, the largest on top, and counts those that are too small.
    fn push(&mut self, nodes: &[usize], depth: usize, waiting: &mut Vec<Branch>) {
        let shown = nodes.partition_point(|node| self.tree.nodes[*node].bytes >= self.threshold);
        for node in &nodes[shown..] {
            self.hidden_branches += 1;
            self.hidden_bytes = self.hidden_bytes.saturating_add(self.tree.nodes[*node].bytes);
        }
        waiting.extend(nodes[..shown].iter().rev().map(|node| Branch { node: *node, depth }));
    }

    /// Draws a branch down to where it divides or ends, and gives its last node.
    fn draw_chain(&self, branch: &Branch, out: &mut dyn Write) -> io::Result<usize> {
        let mut chain = vec![branch.node];
        let mut last = branch.node;
        while let Some(next) = self.only_callee(last) {
            chain.push(next);
            last = next;
        }
        let whole = chain.len() <= WHOLE_CHAIN || self.options.hidden_below_permille == 0;
        let (shown, left_out) = if whole { (chain.len(), 0) } else { (1, chain.len() - 2) };
        for (index, node) in chain[..shown].iter().enumerate() {
            self.draw_node(*node, branch.depth, index == 0, out)?;
        }
        if left_out > 0 {
            let indent = self.indent(branch.depth, false);
            let text = format!("… {}", counted(left_out as u64, "call"));
            writeln!(out, "{:INDENT$}{indent}{}", "", paint(self.options, Ink::Dim, &text))?;
            self.draw_node(last, branch.depth, false, out)?;
        }
        Ok(last)
    }

    /// The callee that holds all that the node holds.
    fn only_callee(&self, node: usize) -> Option<usize> {
        let node = &self.tree.nodes[node];
        match node.callees.as_slice() {
            &[callee] if self.tree.nodes[callee].bytes == node.bytes => Some(callee),
            _ => None,
        }
    }

    fn draw_node(&self, node: usize, depth: usize, is_first: bool, out: &mut dyn Write) -> io::Result<()> {
        let node = &self.tree.nodes[node];
        let indent = self.indent(depth, is_first);
        let room = self.options.width() - INDENT - indent.chars().count();
        let figures = if is_first { figures(node.bytes, self.tree.bytes) } else { format!("{:INDENT$}", "") };
        writeln!(out, "{figures}{indent}{}", place(self.profile, node.line, room))
    }

    fn indent(&self, depth: usize, is_first: bool) -> String {
        let bar = if is_first { "├ " } else { "│ " };
        match depth.min(DEEPEST) {
            0 => String::new(),
            depth => format!("{}{bar}", "│ ".repeat(depth - 1)),
        }
    }

    fn write_hidden(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.hidden_branches == 0 {
            return Ok(());
        }
        let branches = match self.hidden_branches {
            1 => "1 branch".to_owned(),
            number => format!("{} branches", crate::human::count(number)),
        };
        let (limit, all) = (bytes(self.threshold), bytes(self.hidden_bytes));
        let text = format!("Hidden: {branches} of less than {limit}, {all} in all; --all shows them");
        writeln!(out, "\n{}", paint(self.options, Ink::Dim, &cut_end(&text, self.options.width())))
    }
}

fn figures(held: u64, whole: u64) -> String {
    format!("{:>10}{:>8}  ", bytes(held), share(held, whole))
}
