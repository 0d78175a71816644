//! How a user names files and functions.

/// A part of a name, or a glob if it contains `*` or `?`. A glob has to match the whole name, or all of it after some
/// slash: `*.py`, `load*`, `pandas/*/frame.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// A pattern as the user wrote it.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        if !self.text.contains(['*', '?']) {
            return name.contains(&self.text);
        }
        let pattern: Vec<char> = self.text.chars().collect();
        let tails = name.match_indices('/').map(|(slash, _)| &name[slash + 1..]);
        std::iter::once(name).chain(tails).any(|tail| glob(&pattern, tail))
    }
}

/// Whether the whole of `name` matches. A star that turns out too short is made longer by one: no more than
/// `pattern.len() * name.len()` steps.
fn glob(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, matched)) = star else {
                    return false;
                };
                star = Some((star_at, matched + 1));
                at = star_at + 1;
                read = matched + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_globs() {
        for (pattern, name, expected) in [
            ("job", "/srv/me/job.py", true),
            ("job.py", "/srv/me/job.pyc", true),
            ("nope", "/srv/me/job.py", false),
            ("*.py", "/srv/me/job.py", true),
            ("job.*", "/srv/me/job.py", true),
            ("me/*.p?", "/srv/me/job.py", true),
            ("me/?.py", "/srv/me/job.py", false),
            ("load*", "load_all", true),
            ("load*", "reload", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxa", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
