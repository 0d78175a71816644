//! `memlens summary`.
use super::Options;
use super::paint::{Ink, paint};
use super::shortage::write_shortage;
use crate::Sources;
use crate::human::{bytes, count, counted, duration, share};
use crate::label::{NO_FRAME, cut_end, one_line, place};
use memlens_analysis::{LineId, LineShare, Meta, Origin, Process, Profile, StackSite, Summary};
use std::io::{self, Write};

/// Columns left of the name of a place in either table: bytes, share, blocks, and the allocator in the second.
const LINE_INDENT: usize = 32;
const SITE_INDENT: usize = LINE_INDENT + 16;
/// Columns left of a library's name: mapped, resident.
const REGION_INDENT: usize = 22;

/// Generations of processes that are told apart by indentation.
const MOST_INDENTED: usize = 8;

/// Writes the peak, the lines and the sites that held it, and what was not seen.
pub fn write_summary(
    profile: &Profile,
    summary: &Summary,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_heading(profile, options, out)?;
    write_totals(profile, summary, options, out)?;
    write_shortage(profile, options, out)?;
    write_own_lines(profile, summary, sources, options, out)?;
    write_sites(profile, summary, options, out)?;
    write_regions(summary, options, out)?;
    write_processes(profile, options, out)?;
    write_unseen(profile.meta(), options, out)
}

fn write_heading(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let meta = profile.meta();
    let command = one_line(&meta.command.join(" "));
    writeln!(out, "{}", paint(options, Ink::Bold, &cut_end(&command, options.width())))?;
    let mut parts = Vec::new();
    if !meta.python_version.is_empty() {
        parts.push(format!("CPython {}", meta.python_version));
    }
    parts.push(format!("ran {}", duration(meta.duration_ns)));
    parts.push(ending(meta));
    let (picked, recorded) = (profile.processes().len(), profile.recorded_processes());
    if picked < recorded {
        parts.push(format!("{picked} of {recorded} processes"));
    }
    writeln!(out, "{}", one_line(&parts.join(", ")))
}

fn ending(meta: &Meta) -> String {
    let exit = &meta.exit;
    match (exit.signal, exit.code) {
        (Some(9), _) if exit.out_of_memory => "killed for want of memory".to_owned(),
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "end not seen".to_owned(),
    }
}

fn write_totals(profile: &Profile, summary: &Summary, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let meta = profile.meta();
    writeln!(out)?;
    let row = |out: &mut dyn Write, name: &str, value: u64, note: &str| {
        writeln!(out, "{name:<16}{:>10}   {note}", bytes(value))
    };
    let peak = format!("{:<16}{:>10}", "Peak heap", bytes(summary.peak_bytes));
    writeln!(out, "{}   at {}", paint(options, Ink::Bold, &peak), duration(summary.peak_time_ns))?;
    if meta.rss_peak_bytes > 0 {
        let is_shared = meta.pss_peak_bytes > 0 && profile.processes().len() > 1;
        let note = "of all processes, shared pages once";
        match is_shared {
            true => row(out, "Peak resident", meta.pss_peak_bytes, note)?,
            false => row(out, "Peak resident", meta.rss_peak_bytes, "as the kernel counts")?,
        }
    }
    row(out, "Live at the end", summary.end_bytes, &format!("in {}", counted(summary.end_count, "block")))?;
    row(out, "Allocated", summary.allocated_bytes, &format!("in {}", counted(summary.allocations, "allocation")))?;
    row(out, "Released", summary.freed_bytes, &format!("in {}", counted(summary.frees, "release")))?;
    if summary.shared_mapped_bytes > 0 {
        row(out, "Shared memory", summary.shared_mapped_bytes, "at most, not heap")?;
    }
    if summary.file_mapped_bytes > 0 {
        row(out, "Mapped files", summary.file_mapped_bytes, "at most, not heap")?;
    }
    Ok(())
}

fn write_own_lines(
    profile: &Profile,
    summary: &Summary,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    if summary.own_lines.is_empty() {
        return Ok(());
    }
    write_title(profile, "by your own line", options, out)?;
    writeln!(out, "{}", paint(options, Ink::Dim, "     BYTES   SHARE      BLOCKS  LINE"))?;
    let shown = options.rows.unwrap_or(usize::MAX).min(summary.own_lines.len());
    let (shown, hidden) = summary.own_lines.split_at(shown);
    for line in shown {
        write_own_line(profile, summary, line, sources, options, out)?;
    }
    let hidden_bytes = hidden.iter().fold(0u64, |sum, line| sum.saturating_add(line.bytes));
    write_hidden(hidden.len(), hidden_bytes, "more line", options, out)
}

/// The peaks of several processes fall on different moments.
fn write_title(profile: &Profile, by: &str, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let moment = if profile.processes().len() > 1 { "the peak of each process" } else { "the peak" };
    writeln!(out, "\n{}", paint(options, Ink::Bold, &format!("Held at {moment}, {by}")))
}

fn write_own_line(
    profile: &Profile,
    summary: &Summary,
    row: &LineShare,
    sources: &dyn Sources,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let room = options.width() - LINE_INDENT;
    let figures = figures(row.bytes, row.count, summary.held_bytes);
    let Some(line) = row.line else {
        return writeln!(out, "{figures}{}", cut_end("(none of your lines)", room));
    };
    writeln!(out, "{figures}{}", place(profile, line, room))?;
    match sources.line(&profile.file(line).path, profile.line_number(line)) {
        Some(text) => {
            let text = cut_end(one_line(&text).trim(), room - 2);
            writeln!(out, "{:LINE_INDENT$}  {}", "", paint(options, Ink::Dim, &text))
        }
        None => Ok(()),
    }
}

fn write_sites(profile: &Profile, summary: &Summary, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if summary.sites.is_empty() {
        return Ok(());
    }
    write_title(profile, "by call stack and allocator", options, out)?;
    let heading = "     BYTES   SHARE      BLOCKS  ALLOCATOR       INNERMOST LINE, ITS CALLER";
    writeln!(out, "{}", paint(options, Ink::Dim, &cut_end(heading, options.width())))?;
    let shown = options.rows.unwrap_or(usize::MAX).min(summary.sites.len());
    let (shown, hidden) = summary.sites.split_at(shown);
    for site in shown {
        write_site(profile, summary, site, options, out)?;
    }
    let hidden_bytes = hidden.iter().fold(0u64, |sum, site| sum.saturating_add(site.bytes));
    write_hidden(hidden.len(), hidden_bytes, "more stack", options, out)
}

fn write_site(
    profile: &Profile,
    summary: &Summary,
    site: &StackSite,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let room = options.width() - SITE_INDENT;
    let innermost = profile.stack(site.node).next();
    let name = innermost.map_or_else(|| cut_end(NO_FRAME, room), |line| place(profile, line, room));
    let figures = figures(site.bytes, site.count, summary.held_bytes);
    writeln!(out, "{figures}{:<16}{name}", site.allocator.name())?;
    match caller(profile, site) {
        Some(line) => {
            let name = format!("← {}", place(profile, line, room - 2));
            writeln!(out, "{:SITE_INDENT$}{}", "", paint(options, Ink::Dim, &name))
        }
        None => Ok(()),
    }
}

/// Who to name as the caller: the innermost of the user's own lines; where that is the site itself, its direct caller.
fn caller(profile: &Profile, site: &StackSite) -> Option<LineId> {
    let mut stack = profile.stack(site.node);
    let innermost = stack.next()?;
    if profile.file(innermost).origin == Origin::Own {
        return stack.next();
    }
    profile.own_line(site.node).or_else(|| stack.next())
}

fn figures(held: u64, blocks: u64, peak: u64) -> String {
    format!("{:>10}{:>8}{:>12}  ", bytes(held), share(held, peak), blocks_of(blocks))
}

fn blocks_of(blocks: u64) -> String {
    if blocks < 1_000_000_000 { count(blocks) } else { crate::human::short_count(blocks) }
}

fn write_hidden(rows: usize, held: u64, thing: &str, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let text = format!("{:>10}  in {}; --all shows them", bytes(held), counted(rows as u64, thing));
    writeln!(out, "{}", paint(options, Ink::Dim, &text))
}

/// Part of the heap that is known by region only.
fn write_regions(summary: &Summary, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if summary.libraries.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(options, Ink::Bold, "Mapped by libraries, at most; blocks in it are not seen"))?;
    writeln!(out, "{}", paint(options, Ink::Dim, "    MAPPED  RESIDENT  LIBRARY"))?;
    let shown = options.rows.unwrap_or(usize::MAX).min(summary.libraries.len());
    let (shown, hidden) = summary.libraries.split_at(shown);
    for share in shown {
        let resident = share.resident_bytes.map_or_else(|| "?".to_owned(), bytes);
        let name = share.library.rsplit('/').next().unwrap_or(&share.library);
        let name = cut_end(&one_line(name), options.width() - REGION_INDENT);
        writeln!(out, "{:>10}{resident:>10}  {name}", bytes(share.mapped_bytes))?;
    }
    let hidden_bytes = hidden.iter().fold(0u64, |sum, share| sum.saturating_add(share.mapped_bytes));
    write_hidden(hidden.len(), hidden_bytes, "more file", options, out)
}

fn write_processes(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let processes = profile.processes();
    if processes.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(options, Ink::Bold, "Processes"))?;
    writeln!(out, "{}", paint(options, Ink::Dim, " PEAK HEAP  RESIDENT      PID  COMMAND"))?;
    let tree = profile.process_tree();
    let (shown, hidden) = tree.split_at(options.rows.map_or(tree.len(), |rows| (rows * 2).min(tree.len())));
    for (depth, process) in shown {
        let branch = format!("{:width$}", "", width = depth.min(&MOST_INDENTED) * 2);
        let command = cut_end(&format!("{branch}{}", one_line(&brief_command(process))), options.width() - 31);
        let (heap, resident) = (bytes(process.peak_bytes), bytes(process.rss_peak_bytes));
        writeln!(out, "{heap:>10}{resident:>10}{:>9}  {command}", process.pid)?;
    }
    if hidden.is_empty() {
        return Ok(());
    }
    let text = format!("{} more; --all shows them", count(hidden.len() as u64));
    writeln!(out, "{}", paint(options, Ink::Dim, &text))
}

/// The command without the folder of the program: it is the same for most, and long.
fn brief_command(process: &Process) -> String {
    let mut words = process.command.iter().map(String::as_str);
    let program = words.next().unwrap_or("(unknown)");
    let name = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or(program);
    std::iter::once(name).chain(words).collect::<Vec<&str>>().join(" ")
}

fn write_unseen(meta: &Meta, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let unseen = &meta.unseen;
    let mut notes = Vec::new();
    if !meta.complete {
        let reason = if meta.incomplete_reason.is_empty() { "it was cut short" } else { &meta.incomplete_reason };
        notes.push(format!("The recording is incomplete: {}.", one_line(reason)));
    }
    if unseen.lost_events > 0 {
        let lost = format!("{} not recorded ({})", counted(unseen.lost_events, "event"), bytes(unseen.lost_bytes));
        notes.push(lost);
    }
    for (number, thing, what) in [
        (unseen.unreadable_stacks, "stack", "could not be read"),
        (unseen.unknown_releases, "release", "of blocks allocated before the recording"),
        (unseen.unrecorded_processes, "child process", "not recorded"),
    ] {
        if number > 0 {
            notes.push(format!("{} {what}", plural(number, thing)));
        }
    }
    if notes.is_empty() {
        return writeln!(out, "\nNothing was lost: every call counted, every stack read.");
    }
    writeln!(out, "\n{}", paint(options, Ink::Warning, "Not seen"))?;
    notes.iter().try_for_each(|note| writeln!(out, "  {note}"))
}

fn plural(number: u64, thing: &str) -> String {
    match (number, thing) {
        (1, _) | (_, "stack" | "release") => counted(number, thing),
        _ => format!("{} {thing}es", count(number)),
    }
}
