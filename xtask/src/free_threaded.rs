//! `cargo xtask free-threaded`: CPythons without the GIL, compiled from sources that Debian carries, in folders of the checkout.
//!
//! No distribution that this project's machines reach has such builds. One takes some minutes, and so they are made by this command alone; the
//! tests use those that are there, as they use ones that are installed.
use crate::interpreter::Interpreter;
use crate::shell::{Outcome, root, run};
use std::path::PathBuf;
use std::process::Command;

const POOL: &str = "http://deb.debian.org/debian/pool/main/p";

/// A version's source.
struct Source {
    /// "3.14", what the command is told.
    version: &'static str,
    /// Below [`POOL`].
    archive: &'static str,
    /// As Debian has it: in `Sources`, or in the signed `.dsc` beside the archive, which stays longer.
    sha256: &'static str,
    /// The archive's one folder.
    unpacked: &'static str,
    /// The interpreter's, below `.venvs`.
    folder: &'static str,
}

const SOURCES: [Source; 3] = [
    Source {
        version: "3.13",
        archive: "python3.13/python3.13_3.13.15.orig.tar.xz",
        sha256: "1e66a7945a48390ee4c2a4268a0e4185884059a13c4aab6d148aa208deea4a76",
        unpacked: "Python-3.13.15",
        folder: "free-threaded",
    },
    Source {
        version: "3.14",
        archive: "python3.14/python3.14_3.14.7.orig.tar.xz",
        sha256: "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81",
        unpacked: "Python-3.14.7",
        folder: "free-threaded-3.14",
    },
    Source {
        version: "3.15",
        archive: "python3.15/python3.15_3.15.0~rc1.orig.tar.xz",
        sha256: "f84dad680ab2147417d2739355c2678f0f9acffe4ae8ef77895de1454b384b07",
        unpacked: "Python-3.15.0rc1",
        folder: "free-threaded-3.15",
    },
];

/// Downloads, with whatever Python there is.
const DOWNLOAD: &str = "import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])";

pub fn run_command(arguments: &[String]) -> Outcome {
    for source in named_or_all(arguments)? {
        if source.interpreter().is_none() {
            source.make()?;
        }
        let path = source.interpreter().ok_or("it was compiled, and is not there")?;
        println!("{}", path.display());
    }
    Ok(())
}

fn named_or_all(versions: &[String]) -> Outcome<Vec<&'static Source>> {
    if versions.is_empty() {
        return Ok(SOURCES.iter().collect());
    }
    let known = || SOURCES.map(|source| source.version).join(", ");
    let named = |version: &String| {
        let found = SOURCES.iter().find(|source| source.version == version);
        found.ok_or_else(|| format!("no source of {version}: there is {}", known()))
    };
    versions.iter().map(named).collect()
}

/// Those interpreters that have been made, oldest first.
pub fn interpreters() -> Vec<PathBuf> {
    SOURCES.iter().filter_map(Source::interpreter).collect()
}

impl Source {
    fn interpreter(&self) -> Option<PathBuf> {
        Some(self.folder().join(format!("bin/python{}t", self.version))).filter(|path| path.exists())
    }

    fn folder(&self) -> PathBuf {
        root().join(".venvs").join(self.folder)
    }

    fn make(&self) -> Outcome {
        let work = root().join(".venvs").join(format!("{}-build", self.folder));
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let archive = work.join("source.tar.xz");
        let address = format!("{POOL}/{}", self.archive);
        run(Command::new(Interpreter::default_one()?.path).args(["-c", DOWNLOAD, &address]).arg(&archive))?;
        std::fs::write(work.join("sums"), format!("{}  source.tar.xz\n", self.sha256))
            .map_err(|error| error.to_string())?;
        run(Command::new("sha256sum").args(["--check", "--quiet", "sums"]).current_dir(&work))?;
        run(Command::new("tar").args(["-xf", "source.tar.xz"]).current_dir(&work))?;
        let source = work.join(self.unpacked);
        let mut configure = Command::new(source.join("configure"));
        configure.args(["-q", "--disable-gil"]).arg(format!("--prefix={}", self.folder().display()));
        run(configure.env("CFLAGS", "-O2").current_dir(&source))?;
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        for words in [vec![format!("-j{jobs}")], vec!["install".into()]] {
            run(Command::new("make").arg("-s").args(words).current_dir(&source).stdout(std::process::Stdio::null()))?;
        }
        std::fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_there_is_refused_with_those_that_are() {
        let versions = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            named_or_all(&words).map(|sources| sources.iter().map(|source| source.version).collect::<Vec<_>>())
        };
        assert_eq!(versions(&[]), Ok(vec!["3.13", "3.14", "3.15"]));
        assert_eq!(versions(&["3.14"]), Ok(vec!["3.14"]));
        assert_eq!(versions(&["3.12"]), Err("no source of 3.12: there is 3.13, 3.14, 3.15".into()));
    }
}
