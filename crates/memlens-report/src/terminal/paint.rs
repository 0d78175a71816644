//! Colour, where it is wanted. A cell is padded first and painted then, so that columns stay aligned.
use super::Options;

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// A heading.
    Bold,
    /// Of less weight than what stands around it.
    Dim,
    /// A warning.
    Warning,
}

/// The text, in colour if the options say so.
pub(crate) fn paint(options: &Options, ink: Ink, text: &str) -> String {
    if !options.color || text.is_empty() {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Bold => "1",
        Ink::Dim => "2",
        Ink::Warning => "33",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
