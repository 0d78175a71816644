//! Renderings of a profile or a heap, a module for each output. Each function writes to a `&mut dyn Write` that the caller should
//! have buffered; none looks at the terminal, the environment or a file. Source text comes through [`Sources`].
#![forbid(unsafe_code)]

pub mod collapsed;
pub mod heap;
mod human;
pub mod json;
mod label;
pub mod speedscope;
pub mod terminal;

/// Where the text of source lines comes from, at the time of the report.
pub trait Sources {
    /// The text of a line (the first is 1) without its end, or `None` if the file is not there or has no such line.
    fn line(&self, file: &str, line: u32) -> Option<String>;
}

/// No source text at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn line(&self, _file: &str, _line: u32) -> Option<String> {
        None
    }
}
