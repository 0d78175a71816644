//! Which interpreter runs the program.
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An interpreter, found but not tried.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// What the program sees as the interpreter's name: as the user wrote it.
    pub name: OsString,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a script that may execute the real interpreter, as pyenv's shims are.
    pub is_script: bool,
}

impl Interpreter {
    /// The one that the user names, by path or by a name on PATH; else `python3` on PATH; else the active virtual
    /// environment's.
    pub fn find(wanted: Option<&OsStr>) -> Result<Self> {
        if let Some(name) = wanted {
            let path = if name.as_bytes().contains(&b'/') {
                Some(PathBuf::from(name)).filter(|path| path.is_file())
            } else {
                find_on_path(name)
            };
            let path = path.with_context(|| format!("no such interpreter: {}", name.display()))?;
            return Self::at(name.to_owned(), path);
        }
        if let Some(path) = find_on_path(OsStr::new("python3")) {
            return Self::at("python3".into(), path);
        }
        let environment = std::env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
        match environment.filter(|path| path.is_file()) {
            Some(path) => Self::at(path.clone().into_os_string(), path),
            None => bail!("no python3 on PATH and no active virtual environment: name an interpreter with --python"),
        }
    }

    fn at(name: OsString, path: PathBuf) -> Result<Self> {
        if !is_executable(&path) {
            bail!("cannot execute the interpreter {}", path.display());
        }
        let mut start = Vec::new();
        // Unreadable yet executable is possible, and then it is no script: the kernel could not read that either.
        if let Ok(file) = File::open(&path) {
            file.take(2).read_to_end(&mut start)?;
        }
        Ok(Self { name, path, is_script: start == b"#!" })
    }
}

fn find_on_path(name: &OsStr) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file() && is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
