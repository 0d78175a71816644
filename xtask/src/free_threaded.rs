//! `cargo xtask free-threaded`: a CPython without the GIL, compiled from the source that Debian carries, in a folder of the checkout.
//!
//! No distribution that this project's machines reach has such a build. It takes some minutes, and so is made by this command alone; the
//! tests use it when it is there, as they use one that is installed.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome, root, run};
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "http://deb.debian.org/debian/pool/main/p/python3.13/python3.13_3.13.15.orig.tar.xz";
/// As Debian's `Sources` has it.
const SHA256: &str = "1e66a7945a48390ee4c2a4268a0e4185884059a13c4aab6d148aa208deea4a76";
const UNPACKED: &str = "Python-3.13.15";

/// Downloads, with whatever Python there is.
const DOWNLOAD: &str = "import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])";

pub fn run_command(arguments: &[String]) -> Outcome {
    shell::refuse_rest(arguments)?;
    if interpreter().is_none() {
        make()?;
    }
    let path = interpreter().ok_or("it was compiled, and is not there")?;
    println!("{}", path.display());
    Ok(())
}

/// The interpreter, if it has been made.
pub fn interpreter() -> Option<PathBuf> {
    Some(folder().join("bin/python3.13t")).filter(|path| path.exists())
}

fn folder() -> PathBuf {
    root().join(".venvs/free-threaded")
}

fn make() -> Outcome {
    let work = root().join(".venvs/free-threaded-build");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let archive = work.join("source.tar.xz");
    run(Command::new(Interpreter::default_one()?.path).args(["-c", DOWNLOAD, SOURCE]).arg(&archive))?;
    std::fs::write(work.join("sums"), format!("{SHA256}  source.tar.xz\n")).map_err(|error| error.to_string())?;
    run(Command::new("sha256sum").args(["--check", "--quiet", "sums"]).current_dir(&work))?;
    run(Command::new("tar").args(["-xf", "source.tar.xz"]).current_dir(&work))?;
    let source = work.join(UNPACKED);
    let mut configure = Command::new(source.join("configure"));
    configure.args(["-q", "--disable-gil"]).arg(format!("--prefix={}", folder().display())).env("CFLAGS", "-O2");
    run(configure.current_dir(&source))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    for words in [vec![format!("-j{jobs}")], vec!["install".into()]] {
        run(Command::new("make").arg("-s").args(words).current_dir(&source).stdout(std::process::Stdio::null()))?;
    }
    std::fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))
}
