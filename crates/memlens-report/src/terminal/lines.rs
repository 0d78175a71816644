//! `memlens lines`.
use super::Options;
use super::paint::{Ink, paint};
use crate::Sources;
use crate::human::{bytes, short_count, signed_bytes};
use crate::label::{cut_end, one_line, short_path};
use memlens_analysis::{Figures, FileLines, FunctionLines, LineFigures, Lines, Profile};
use std::io::{self, Write};

/// Columns left of the source text.
const INDENT: usize = 55;

/// Writes a table for each file, those that held most at the peak first, with its lines by function.
pub fn write_lines(
    profile: &Profile,
    lines: &Lines,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (index, file) in lines.files.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_file(profile, file, sources, options, out)?;
    }
    if lines.files.is_empty() {
        writeln!(out, "None of your own lines allocated anything; --all shows those of libraries.")?;
    }
    write_elsewhere(lines, options, out)
}

fn write_file(
    profile: &Profile,
    file: &FileLines,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let path = &profile.files()[file.file.0 as usize].path;
    let name = short_path(path, &profile.meta().working_directory);
    writeln!(out, "{}", paint(options, Ink::Bold, &one_line(&name)))?;
    let heading = " LINE  ALLOCATED      FREED        NET    AT PEAK  COUNT  SOURCE";
    writeln!(out, "{}", paint(options, Ink::Dim, &cut_end(heading, options.width())))?;
    for function in &file.functions {
        write_function(profile, path, function, sources, options, out)?;
    }
    Ok(())
}

fn write_function(
    profile: &Profile,
    path: &str,
    function: &FunctionLines,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = one_line(&profile.functions()[function.function.0 as usize].name);
    let held = bytes(function.figures.peak_bytes);
    let text = cut_end(&format!("  in {name}, which held {held}"), options.width());
    writeln!(out, "{}", paint(options, Ink::Dim, &text))?;
    for line in &function.lines {
        write_line(path, line, sources, options, out)?;
    }
    Ok(())
}

fn write_line(
    path: &str,
    line: &LineFigures,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let number = if line.line == 0 { "?".to_owned() } else { line.line.to_string() };
    let source = sources.line(path, line.line).unwrap_or_default();
    let source = cut_end(one_line(&source).trim_end(), options.width() - INDENT - 4);
    let row = format!("{number:>5}{}  {source}", columns(&line.inclusive));
    writeln!(out, "{}", row.trim_end())
}

fn columns(figures: &Figures) -> String {
    format!(
        "{:>11}{:>11}{:>11}{:>11}{:>7}",
        blank_zero(figures.allocated_bytes),
        blank_zero(figures.freed_bytes),
        signed_bytes(figures.net_bytes()),
        blank_zero(figures.peak_bytes),
        short_count(figures.allocations),
    )
}

/// A column of zeros hides what is in it.
fn blank_zero(value: u64) -> String {
    if value == 0 { "-".to_owned() } else { bytes(value) }
}

fn write_elsewhere(lines: &Lines, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if lines.elsewhere.is_empty() {
        return Ok(());
    }
    let figures = &lines.elsewhere;
    let text = format!(
        "Outside these lines: {} at the peak, {} allocated, {} freed",
        bytes(figures.peak_bytes),
        bytes(figures.allocated_bytes),
        bytes(figures.freed_bytes)
    );
    writeln!(out, "\n{}", paint(options, Ink::Dim, &cut_end(&text, options.width())))
}
