//! Tables for a terminal, or for a pipe: 80 columns unless told otherwise, readable without colour.
//!
//! What a reader wants first stands first: the peak and when it was, then the lines that held it, and at the end what was
//! not seen, with its size.
mod lines;
pub(crate) mod paint;
mod summary;
mod tree;

pub use lines::write_lines;
pub use summary::write_summary;
pub use tree::write_tree;

/// Fewest columns that the tables are made for.
pub const LEAST_WIDTH: usize = 60;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns, at least [`LEAST_WIDTH`].
    pub width: usize,
    /// Whether to use ANSI colours.
    pub color: bool,
    /// Most rows of each of the summary's tables; `None` for all.
    pub rows: Option<usize>,
    /// Branches of the tree that hold less than this share of the peak, in thousandths, are hidden.
    pub hidden_below_permille: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 80, color: false, rows: Some(10), hidden_below_permille: 10 }
    }
}

impl Options {
    pub(crate) fn width(&self) -> usize {
        self.width.max(LEAST_WIDTH)
    }
}
