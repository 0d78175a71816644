//! Whose code a file is.

/// Whose code a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The user's own.
    Own,
    /// The standard library, an installed package, or code that has no file.
    Library,
}

impl Origin {
    /// Judges by the path alone. `command` tells whether `<string>` is what the user passed to `-c`.
    pub fn of(path: &str, command: &[String]) -> Self {
        let is_library = if path.starts_with('<') {
            let is_code = path == "<string>" && command.first().is_some_and(|word| word == "-c");
            let is_typed = path.starts_with("<stdin") || path.starts_with("<ipython");
            !(is_code || is_typed)
        } else {
            path.is_empty() || path.split('/').any(is_package_folder) || is_standard_library(path)
        };
        if is_library { Self::Library } else { Self::Own }
    }
}

fn is_package_folder(component: &str) -> bool {
    matches!(component, "site-packages" | "dist-packages")
}

/// `…/lib/python3.12/…`, `…/lib64/python3.12/…` and `…/python312.zip/…`.
fn is_standard_library(path: &str) -> bool {
    let mut above = "";
    path.split('/').any(|component| {
        let version = component.strip_prefix("python");
        let is_folder = matches!(above, "lib" | "lib64") && version.is_some_and(starts_with_digit);
        let is_zip = version.and_then(|version| version.strip_suffix(".zip")).is_some_and(starts_with_digit);
        above = component;
        is_folder || is_zip
    })
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        let script = ["job.py".to_owned()];
        for (path, origin) in [
            ("/srv/job.py", Origin::Own),
            ("/srv/me/lib/job.py", Origin::Own),
            ("/srv/me/python3.12/job.py", Origin::Own),
            ("<stdin>", Origin::Own),
            ("<ipython-input-3-abc>", Origin::Own),
            ("<string>", Origin::Library),
            ("<frozen importlib._bootstrap>", Origin::Library),
            ("", Origin::Library),
            ("/usr/lib/python3.12/json/decoder.py", Origin::Library),
            ("/usr/lib64/python3.9/json/decoder.py", Origin::Library),
            ("/usr/lib/python312.zip/json/decoder.py", Origin::Library),
            ("/opt/venv/lib/python3.12/site-packages/pandas/core/frame.py", Origin::Library),
            ("/usr/lib/python3/dist-packages/apt/cache.py", Origin::Library),
        ] {
            assert_eq!(Origin::of(path, &script), origin, "{path}");
        }
        let code = ["-c".to_owned(), "x = 1".to_owned()];
        assert_eq!(Origin::of("<string>", &code), Origin::Own);
    }
}
