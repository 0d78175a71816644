//! A file for <https://www.speedscope.app>, by its schema <https://www.speedscope.app/file-format-schema.json>: three
//! profiles of type "sampled" (at peak, allocated, live at the end), each with a sample for every stack, weighed in bytes.
use crate::json::Rows;
use crate::label::{LEFT_OUT, NO_FRAME};
use memlens_analysis::{BriefStack, INNER_FRAMES, LineId, Measure, NodeId, Profile, StackBytes};
use serde::Serialize;
use std::io::{self, Write};

/// What to write: there is nothing to choose yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options;

#[derive(Serialize)]
struct Frame<'p> {
    name: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// Writes the file.
pub fn write(profile: &Profile, _options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let command = profile.meta().command.join(" ");
    write!(out, r#"{{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"#)?;
    serde_json::to_writer(&mut *out, concat!("memlens@", env!("CARGO_PKG_VERSION")))?;
    write!(out, r#","name":"#)?;
    serde_json::to_writer(&mut *out, &command)?;
    write!(out, r#","activeProfileIndex":0,"shared":{{"frames":"#)?;
    serde_json::to_writer(&mut *out, &Rows(|| frames(profile)))?;
    write!(out, r#"}},"profiles":["#)?;
    for (index, measure) in Measure::ALL.into_iter().enumerate() {
        write!(out, "{}", if index == 0 { "" } else { "," })?;
        write_profile(profile, measure, out)?;
    }
    writeln!(out, "]}}")
}

/// A frame for each line, then one for what no line allocated and one for the middle of a very deep stack.
fn frames(profile: &Profile) -> impl Iterator<Item = Frame<'_>> {
    let of_line = |index| {
        let line = LineId(index as u32);
        let number = profile.line_number(line);
        let file = Some(profile.file(line).path.as_str());
        Frame { name: &profile.function(line).name, file, line: (number > 0).then_some(number) }
    };
    let without_line = |name| Frame { name, file: None, line: None };
    (0..profile.lines().len()).map(of_line).chain([NO_FRAME, LEFT_OUT].map(without_line))
}

fn write_profile(profile: &Profile, measure: Measure, out: &mut dyn Write) -> io::Result<()> {
    let stacks = profile.stacks(measure);
    let total = stacks.iter().fold(0u64, |sum, stack| sum.saturating_add(stack.bytes));
    write!(out, r#"{{"type":"sampled","name":"{}","unit":"bytes","startValue":0,"endValue":{total}"#, measure.name())?;
    write!(out, r#","samples":"#)?;
    serde_json::to_writer(&mut *out, &Rows(|| stacks.iter().map(|stack| sample(profile, stack.node))))?;
    write!(out, r#","weights":"#)?;
    serde_json::to_writer(&mut *out, &Rows(|| stacks.iter().map(|StackBytes { bytes, .. }| bytes)))?;
    write!(out, "}}")
}

/// Indices of frames, outermost first.
fn sample(profile: &Profile, node: Option<NodeId>) -> Vec<u32> {
    let BriefStack { lines, left_out } = profile.brief_stack(node);
    let mut sample: Vec<u32> = lines.into_iter().map(|line| line.0).collect();
    let line_count = profile.lines().len() as u32;
    if sample.is_empty() {
        sample.push(line_count);
    }
    if left_out > 0 {
        sample.insert(INNER_FRAMES, line_count + 1);
    }
    sample.reverse();
    sample
}
