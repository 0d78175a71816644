//! Names of places, short enough for a terminal.
use memlens_analysis::{LineId, Profile};

/// What stands where no Python frame was running.
pub(crate) const NO_FRAME: &str = "(no Python frame)";
/// Stands for the middle of a very deep stack.
pub(crate) const LEFT_OUT: &str = "(frames left out)";

/// `file.py:12`, or the name alone for a file in angle brackets without a line.
pub(crate) fn location(profile: &Profile, line: LineId) -> String {
    let path = short_path(&profile.file(line).path, &profile.meta().working_directory);
    match profile.line_number(line) {
        0 => path,
        number => format!("{path}:{number}"),
    }
}

/// A path as its reader knows it: in a package from the package's name on, in the program's own working directory from
/// there on.
pub(crate) fn short_path(path: &str, working_directory: &str) -> String {
    for marker in ["/site-packages/", "/dist-packages/"] {
        if let Some(at) = path.rfind(marker) {
            return path[at + marker.len()..].to_owned();
        }
    }
    if let Some(rest) = after_standard_library(path) {
        return rest.to_owned();
    }
    let folder = working_directory.trim_end_matches('/');
    match path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) if !folder.is_empty() => rest.to_owned(),
        _ => path.to_owned(),
    }
}

/// What follows `/lib/python3.12/`.
fn after_standard_library(path: &str) -> Option<&str> {
    let (_, rest) = path.rsplit_once("/lib/python").or_else(|| path.rsplit_once("/lib64/python"))?;
    let (version, rest) = rest.split_once('/')?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(rest)
}

/// Keeps the beginning.
pub(crate) fn cut_end(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Keeps the end, where a path has its name.
pub(crate) fn cut_start(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(length + 1 - width.max(1)).collect();
    format!("…{kept}")
}

/// A location and a function in `width` columns; the function gives way first.
pub(crate) fn place(profile: &Profile, line: LineId, width: usize) -> String {
    let location = cut_start(&location(profile, line), width);
    let room = width.saturating_sub(location.chars().count() + 2);
    if room < 4 {
        return location;
    }
    format!("{location}  {}", cut_end(&one_line(&profile.function(line).name), room))
}

/// Text without control characters: a name or a source line must not steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened() {
        for (path, short) in [
            ("/srv/app/job.py", "job.py"),
            ("/srv/apple/job.py", "/srv/apple/job.py"),
            ("/srv/app/.venv/lib/python3.12/site-packages/pandas/io/common.py", "pandas/io/common.py"),
            ("/usr/lib/python3.12/json/decoder.py", "json/decoder.py"),
            ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
        ] {
            assert_eq!(short_path(path, "/srv/app"), short);
        }
        assert_eq!(cut_start("pandas/io/common.py:12", 12), "…ommon.py:12");
        assert_eq!(cut_end("x = compute(a, b)", 8), "x = com…");
    }
}
