//! Capture to profile to figures: pure, without a clock, a file or a word printed.
//!
//! [`Profile::new`] takes a capture and brings its tables into order: files, functions and lines by name, one call tree
//! for all processes, one site for each stack and allocator. From it come [`Summary`] (who held the memory at the peak),
//! [`Lines`] (what each line did) and [`CallTree`] (the call tree at the peak). Every walk over the call tree is a loop, for a
//! stack may be as deep as the tree has nodes.
#![forbid(unsafe_code)]

mod figures;
mod growth;
mod lines;
mod origin;
mod pattern;
mod profile;
mod selection;
mod stacks;
mod summary;
mod tree;
mod walk;

pub use figures::Figures;
pub use growth::{LineGrowth, growth};
pub use lines::{FileLines, FunctionLines, LineFigures, LineQuery, Lines, Scope};
pub use memlens_format::{
    Allocator,
    capture::{Capture, Meta, NodeId, Point, Process, Region, Release, Shortage, Site, Slice},
};
pub use origin::Origin;
pub use pattern::Pattern;
pub use profile::{
    BriefStack, File, FileId, Function, FunctionId, INNER_FRAMES, Line, LineId, OUTER_FRAMES, Profile, ProfileNode,
    StackSite,
};
pub use selection::{ProcessPattern, select_processes};
pub use stacks::{Measure, StackBytes};
pub use summary::{LibraryShare, LineShare, Summary};
pub use tree::{CallTree, TreeNode};
