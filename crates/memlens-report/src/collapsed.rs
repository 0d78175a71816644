//! Collapsed stacks, as Brendan Gregg's flamegraph.pl and its kin read them: one line for each stack, outermost frame
//! first, then a space and the bytes.
use crate::label::{NO_FRAME, one_line};
use memlens_analysis::{LineId, Measure, Profile, StackBytes};
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
        let mut stack: Vec<LineId> = profile.stack(node).collect();
        stack.reverse();
        if stack.is_empty() {
            write!(out, "{NO_FRAME}")?;
        }
        for (depth, line) in stack.into_iter().enumerate() {
            let name = names.entry(line).or_insert_with(|| frame_name(profile, line));
            write!(out, "{}{name}", if depth == 0 { "" } else { ";" })?;
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
