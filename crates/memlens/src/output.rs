//! Standard output: buffered, and as wide and colourful as the terminal behind it.
use memlens_report::terminal::Options;
use std::env;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use terminal_size::{Height, Width};

const DEFAULT_WIDTH: usize = 80;

/// Runs `write` with a buffer on standard output, and flushes it.
pub fn write_out(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out: BufWriter<StdoutLock<'static>> = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    write(&mut out)?;
    out.flush()
}

/// Options for standard output; where it is no terminal, 80 columns and no colour.
pub fn terminal_options() -> Options {
    let is_terminal = io::stdout().is_terminal();
    options(is_terminal, || terminal_size::terminal_size_of(io::stdout()))
}

/// The same for standard error.
pub fn error_options() -> Options {
    let is_terminal = io::stderr().is_terminal();
    options(is_terminal, || terminal_size::terminal_size_of(io::stderr()))
}

fn options(is_terminal: bool, measure: impl Fn() -> Option<(Width, Height)>) -> Options {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    let color = is_terminal && !no_color && !is_dumb;
    let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let measured = if is_terminal { measure().map(|(columns, _)| usize::from(columns.0)) } else { None };
    Options { width: told.or(measured).unwrap_or(DEFAULT_WIDTH), color, ..Options::default() }
}
