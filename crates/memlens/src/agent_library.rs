//! Where the agent is: the library that is preloaded into the recorded program.
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Its file name.
const FILE_NAME: &str = "libmemlens_agent.so";
/// Names another file to use, for tests.
const OVERRIDE: &str = "MEMLENS_AGENT";

/// Finds the agent: beside this executable, or in `../lib/memlens` or `../libexec/memlens` from there.
pub fn find() -> Result<PathBuf> {
    let path = match std::env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => find_installed()?,
    };
    let path = path.canonicalize().with_context(|| format!("no agent at {}", path.display()))?;
    // ld.so(8): the elements of LD_PRELOAD are separated by spaces or colons, and nothing can quote them.
    if path.as_os_str().as_bytes().iter().any(|byte| b": ".contains(byte)) {
        bail!("the agent's path has a space or a colon, which LD_PRELOAD cannot express: {}", path.display());
    }
    Ok(path)
}

/// The value of `LD_PRELOAD` for the recorded program: the agent before whatever the user preloads.
pub fn preload(agent: PathBuf) -> OsString {
    let mut value = agent.into_os_string();
    if let Some(existing) = std::env::var_os("LD_PRELOAD").filter(|existing| !existing.is_empty()) {
        value.push(":");
        value.push(existing);
    }
    value
}

fn find_installed() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("cannot tell where memlens is")?;
    let folder = executable.parent().context("cannot tell where memlens is")?;
    let places = ["", "../lib/memlens", "../libexec/memlens"].map(|place| folder.join(place).join(FILE_NAME));
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => bail!("the agent is missing: no {FILE_NAME} in {}", folder.display()),
    }
}
