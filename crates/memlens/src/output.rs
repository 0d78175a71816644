//! Standard output: buffered, and as wide and colourful as the terminal behind it.
use memlens_report::terminal::Options;
use std::env;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

const DEFAULT_WIDTH: usize = 80;

/// Runs `write` with a buffer on standard output, and flushes it.
pub fn write_out(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out: BufWriter<StdoutLock<'static>> = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    write(&mut out)?;
    out.flush()
}

/// Options for this terminal; without one, 80 columns and no colour.
pub fn terminal_options() -> Options {
    let is_terminal = io::stdout().is_terminal();
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    let color = is_terminal && !no_color && !is_dumb;
    Options { width: width(is_terminal), color, ..Options::default() }
}

fn width(is_terminal: bool) -> usize {
    let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let measured = || {
        if is_terminal { terminal_size::terminal_size() } else { None }
    };
    told.or_else(|| measured().map(|(columns, _)| usize::from(columns.0))).unwrap_or(DEFAULT_WIDTH)
}
