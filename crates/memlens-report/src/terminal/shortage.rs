//! The out-of-memory report: the bound that was met, what was asked for, and what had grown before.
use super::Options;
use super::paint::{Ink, paint};
use crate::human::{bytes, counted, duration};
use crate::label::{cut_start, one_line, place, short_path};
use memlens_analysis::{LineGrowth, Origin, Profile, Shortage, growth};
use std::io::{self, Write};

/// How far back growth is looked at.
const LAST_NS: u64 = 60_000_000_000;
const INDENT: usize = 14;
/// What grew by less than the largest divided by this is not the matter.
const GRAINS: u64 = 1000;

/// Writes nothing if memory was not the matter. Who held what stands in the tables of the summary that follow.
pub(super) fn write_shortage(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let Some(shortage) = &profile.meta().shortage else { return Ok(()) };
    writeln!(out, "\n{}", paint(options, Ink::Warning, "Out of memory"))?;
    writeln!(out, "  {}", cause(shortage))?;
    if shortage.limit_bytes > 0 {
        writeln!(out, "  The limit {} was {}.", one_line(&shortage.bound), bytes(shortage.limit_bytes))?;
    }
    if let Some(frame) = own_frame(profile, shortage) {
        writeln!(out, "  It was asked for at {}", cut_start(&frame, options.width().saturating_sub(22)))?;
    }
    let lines = growth(profile, shortage.time_ns.saturating_sub(LAST_NS), shortage.time_ns);
    write_growth(profile, shortage, &lines, options, out)
}

fn cause(shortage: &Shortage) -> String {
    let time = duration(shortage.time_ns);
    match shortage.killed {
        0 if shortage.refused > 1 => {
            let all = counted(shortage.refused, "refusal");
            format!("An allocation of {} was refused at {time}, one of {all}.", bytes(shortage.refused_bytes))
        }
        0 => format!("An allocation of {} was refused at {time}.", bytes(shortage.refused_bytes)),
        1 => format!("The kernel killed a process, at {time} at the latest."),
        killed => format!("The kernel killed {killed} processes, the last at {time} at the latest."),
    }
}

/// The innermost of the user's own frames of a refused allocation, or else the innermost frame.
fn own_frame(profile: &Profile, shortage: &Shortage) -> Option<String> {
    let is_own = |path: &str| profile.files().iter().any(|file| file.path == path && file.origin == Origin::Own);
    let stack = &shortage.refused_stack;
    let (function, file, line) = stack.iter().find(|(_, file, _)| is_own(file)).or_else(|| stack.first())?;
    let path = short_path(file, &profile.meta().working_directory);
    (shortage.killed == 0).then(|| one_line(&format!("{path}:{line}  {function}")))
}

fn write_growth(
    profile: &Profile,
    shortage: &Shortage,
    lines: &[LineGrowth],
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let stretch = if shortage.time_ns > LAST_NS { "in the last minute" } else { "since the start" };
    writeln!(out, "  What had grown {stretch}:")?;
    let least = lines.iter().map(|growth| growth.bytes).max().unwrap_or(0) / GRAINS;
    let lines = lines.iter().filter(|growth| growth.bytes > least);
    for growth in lines.take(options.rows.unwrap_or(usize::MAX)) {
        let room = options.width().saturating_sub(INDENT);
        let name = growth.line.map_or_else(|| "(none of your lines)".to_owned(), |line| place(profile, line, room));
        writeln!(out, "{:>12}  {name}", format!("+{}", bytes(growth.bytes)))?;
    }
    Ok(())
}
