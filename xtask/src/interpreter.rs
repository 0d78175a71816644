//! Which CPythons this machine has.
use crate::shell::Outcome;
use crate::{free_threaded, sid};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The minor versions of Python 3 that memlens records.
pub const SUPPORTED_MINORS: std::ops::RangeInclusive<u32> = 8..=15;

/// The minor versions of which it records free-threaded builds as well.
const FREE_THREADED_MINORS: std::ops::RangeInclusive<u32> = 13..=15;

/// Asks an interpreter who it is.
const PROBE: &str = "import platform, sys, sysconfig; print(platform.python_implementation(), \
     '%d %d %d' % sys.version_info[:3], int(bool(sysconfig.get_config_var('Py_GIL_DISABLED'))), sys.executable)";

/// A CPython that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its own idea of its path: a shim is seen through.
    pub path: PathBuf,
    /// 12 of "3.12.1".
    pub minor: u32,
    /// 1 of "3.12.1".
    pub micro: u32,
    /// Whether it is a build without the GIL.
    pub is_free_threaded: bool,
}

impl Interpreter {
    /// "3.12.1", "3.13.15t" where it is free-threaded.
    pub fn version(&self) -> String {
        format!("3.{}.{}{}", self.minor, self.micro, if self.is_free_threaded { "t" } else { "" })
    }

    /// The interpreter that a user names, or why it will not do.
    pub fn named(name: &str) -> Outcome<Self> {
        probe(Path::new(name)).ok_or_else(|| format!("{name}: not a CPython 3.8 to 3.15 that runs"))
    }

    /// `python3` on PATH if it will do, else the newest one found.
    pub fn default_one() -> Outcome<Self> {
        probe(Path::new("python3"))
            .or_else(|| all().pop())
            .ok_or_else(|| "no CPython 3.8 to 3.15 found: put python3 on PATH or name one with --python".into())
    }
}

/// Those named, or else one interpreter of each minor version found on this machine.
pub fn named_or_all(names: &[String]) -> Outcome<Vec<Interpreter>> {
    if !names.is_empty() {
        return names.iter().map(|name| Interpreter::named(name)).collect();
    }
    let found = all();
    if found.is_empty() { Err("no CPython 3.8 to 3.15 found".into()) } else { Ok(found) }
}

/// Free-threaded ones, one of each minor version of which they are supported.
pub fn free_threaded() -> Vec<Interpreter> {
    let named = FREE_THREADED_MINORS.map(|minor| PathBuf::from(format!("python3.{minor}t")));
    let mut found: Vec<Interpreter> = Vec::new();
    for candidate in free_threaded::interpreters().into_iter().chain(named).chain(installed()) {
        let interpreter = probe(&candidate).filter(|interpreter| interpreter.is_free_threaded);
        found.extend(interpreter.filter(|one| found.iter().all(|known| known.minor != one.minor)));
    }
    found.sort_by_key(|interpreter| interpreter.minor);
    found
}

/// One interpreter of each supported minor version, oldest first; `python3` on PATH is preferred for its own version.
fn all() -> Vec<Interpreter> {
    let mut found: Vec<Interpreter> = Vec::new();
    for candidate in candidates() {
        let Some(interpreter) = probe(&candidate) else {
            continue;
        };
        if !interpreter.is_free_threaded && found.iter().all(|known| known.minor != interpreter.minor) {
            found.push(interpreter);
        }
    }
    found.sort_by_key(|interpreter| interpreter.minor);
    found
}

/// Builds of supported versions besides those: Debian's static ones, and those with a shared libpython.
pub fn other_builds(tested: &[Interpreter]) -> Vec<Interpreter> {
    let candidates = [PathBuf::from("/usr/bin/python3")].into_iter().chain(sid::interpreters()).chain(sid::shared());
    candidates
        .filter_map(|path| probe(&path))
        .filter(|build| tested.iter().all(|known| known.path != build.path))
        .collect()
}

fn candidates() -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("python3")];
    paths.extend(SUPPORTED_MINORS.map(|minor| PathBuf::from(format!("python3.{minor}"))));
    paths.extend(installed());
    paths.extend(sid::interpreters());
    paths
}

/// What pyenv and uv have installed.
fn installed() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in installation_folders() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        let mut installed: Vec<_> = entries.flatten().map(|entry| entry.path().join("bin/python3")).collect();
        installed.sort();
        paths.extend(installed.into_iter().filter(|path| path.exists()));
    }
    paths
}

/// Where pyenv and uv put interpreters.
fn installation_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    vec![pyenv.join("versions"), home.join(".local/share/uv/python")]
}

fn probe(path: &Path) -> Option<Interpreter> {
    let output = Command::new(path).args(["-c", PROBE]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    parse_probe(&String::from_utf8_lossy(&output.stdout))
}

fn parse_probe(answer: &str) -> Option<Interpreter> {
    let mut words = answer.trim_end().splitn(6, ' ');
    let is_cpython = words.next()? == "CPython";
    let mut number = || words.next()?.parse::<u32>().ok();
    let (major, minor, micro, is_free_threaded) = (number()?, number()?, number()?, number()?);
    let path = PathBuf::from(words.next()?);
    let is_free_threaded = is_free_threaded != 0;
    let minors = if is_free_threaded { FREE_THREADED_MINORS } else { SUPPORTED_MINORS };
    let is_supported = is_cpython && major == 3 && minors.contains(&minor);
    is_supported.then_some(Interpreter { path, minor, micro, is_free_threaded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpython_is_taken_with_its_path() {
        let path = PathBuf::from("/opt/my python/bin/python3");
        let expected = Interpreter { path: path.clone(), minor: 12, micro: 1, is_free_threaded: false };
        assert_eq!(parse_probe("CPython 3 12 1 0 /opt/my python/bin/python3\n"), Some(expected));
        let expected = Interpreter { path, minor: 13, micro: 15, is_free_threaded: true };
        assert_eq!(expected.version(), "3.13.15t");
        assert_eq!(parse_probe("CPython 3 13 15 1 /opt/my python/bin/python3\n"), Some(expected));
    }

    #[test]
    fn others_are_left() {
        assert_eq!(parse_probe("PyPy 3 10 1 0 /usr/bin/pypy3\n"), None);
        assert_eq!(parse_probe("CPython 3 7 16 0 /usr/bin/python3.7\n"), None);
        assert_eq!(parse_probe("CPython 3 16 0 1 /usr/bin/python3.16t\n"), None);
        assert_eq!(parse_probe(""), None);
    }
}
