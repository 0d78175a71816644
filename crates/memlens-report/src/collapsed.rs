//! Collapsed stacks, as Brendan Gregg's flamegraph.pl and its kin read them: one line for each stack, outermost frame
//! first, then a space and the bytes.
use crate::label::{LEFT_OUT, NO_FRAME, one_line};
use memlens_analysis::{BriefStack, LineId, Measure, OUTER_FRAMES, Profile, StackBytes};
use std::collections::HashMap;
use std::io::{self, Write};

/// What to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Which bytes.
    pub measure: Measure,
}

/// Writes `a (file.py:3);b (file.py:4) 123` for each stack.
pub fn write(profile: &Profile, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut names: HashMap<LineId, String> = HashMap::new();
    for StackBytes { node, bytes } in profile.stacks(options.measure) {
        let BriefStack { lines, left_out } = profile.brief_stack(node);
        if lines.is_empty() {
            write!(out, "{NO_FRAME}")?;
        }
        for (depth, line) in lines.into_iter().rev().enumerate() {
            let name = names.entry(line).or_insert_with(|| frame_name(profile, line));
            write!(out, "{}{name}", if depth == 0 { "" } else { ";" })?;
            if left_out > 0 && depth + 1 == OUTER_FRAMES {
                write!(out, ";{LEFT_OUT}")?;
            }
        }
        writeln!(out, " {bytes}")?;
    }
    Ok(())
}

/// A semicolon would end the frame.
fn frame_name(profile: &Profile, line: LineId) -> String {
    let function = &profile.function(line).name;
    let name = format!("{function} ({}:{})", profile.file(line).path, profile.line_number(line));
    one_line(&name).replace(';', ",")
}
