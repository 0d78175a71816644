//! `cargo xtask sid`: the CPythons that only Debian's unstable distribution has, in a folder of the checkout.
//!
//! They are Debian's own builds: static, stripped, against a C library that is newer than this machine's. Instead of a chroot, each
//! executable is told (by patchelf) to use the folder's own dynamic loader and libraries; so it runs like any other
//! interpreter of this machine, with memlens, virtual environments and wheels, and nothing is installed outside. A second executable
//! of each version is compiled here against Debian's shared libpython.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome, root, run};
use crate::venv;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages come from.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Debian's builds of these versions are taken: those that pyenv may not have, and 3.13 as a static build.
const VERSIONS: [&str; 3] = ["3.13", "3.14", "3.15"];
/// Changed whenever a folder made by an older recipe will not do.
const RECIPE: &str = "1";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Embeds the interpreter that a shared libpython has, as the `python3` of a shared build does.
const SHARED_MAIN: &str = "int Py_BytesMain(int, char **);\nint main(int n, char **v) { return Py_BytesMain(n, v); }\n";

pub fn run_command(arguments: &[String]) -> Outcome {
    shell::refuse_rest(arguments)?;
    let made = make()?;
    for path in interpreters().into_iter().chain(shared()) {
        println!("{}", path.display());
    }
    eprintln!("{} is {}", folder().display(), if made { "ready" } else { "ready already" });
    Ok(())
}

/// The static interpreters in the folder; none if it has not been made.
pub fn interpreters() -> Vec<PathBuf> {
    existing(|version| format!("python{version}"))
}

/// The interpreters that were linked with the shared libpython.
pub fn shared() -> Vec<PathBuf> {
    existing(|version| format!("python{version}-shared"))
}

fn existing(name: impl Fn(&str) -> String) -> Vec<PathBuf> {
    if !is_ready() {
        return Vec::new();
    }
    let paths = VERSIONS.iter().map(|version| folder().join("usr/bin").join(name(version)));
    paths.filter(|path| path.exists()).collect()
}

/// Makes the folder unless it is there. `false`: it was. Takes about a minute.
pub fn make() -> Outcome<bool> {
    if is_ready() {
        return Ok(false);
    }
    need_debootstrap()?;
    remove(&folder())?;
    std::fs::create_dir_all(folder()).map_err(|error| format!("{}: {error}", folder().display()))?;
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={}", packages()), "sid"]).arg(folder()).arg(MIRROR);
    run(command.stdout(std::process::Stdio::null()))?;
    let patchelf = patchelf()?;
    for version in VERSIONS {
        adopt(&folder().join(format!("usr/bin/python{version}")), &patchelf)?;
        link_shared(version)?;
    }
    std::fs::write(stamp(), RECIPE).map_err(|error| format!("{}: {error}", stamp().display()))?;
    Ok(true)
}

fn folder() -> PathBuf {
    root().join(".venvs/debian-sid")
}

/// Outside of the folder, so that a folder that was given up half-way is none.
fn stamp() -> PathBuf {
    root().join(".venvs/debian-sid.made")
}

fn is_ready() -> bool {
    std::fs::read_to_string(stamp()).is_ok_and(|recipe| recipe == RECIPE)
}

fn packages() -> String {
    let of =
        |version: &str| format!("python{version},python{version}-venv,libpython{version},libpython{version}-testsuite");
    VERSIONS.map(of).join(",")
}

/// A folder of an older recipe, or one that was given up half-way.
fn remove(folder: &Path) -> Outcome {
    let _ = std::fs::remove_file(stamp());
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}

fn need_debootstrap() -> Outcome {
    let is_there = || Command::new("debootstrap").arg("--version").output().is_ok();
    if is_there() {
        return Ok(());
    }
    let _ = run(Command::new("apt-get").args(["update", "-q"]));
    run(Command::new("apt-get").args(["install", "-y", "-q", "--no-install-recommends", "debootstrap"]))?;
    if is_there() { Ok(()) } else { Err("debootstrap is not installed".into()) }
}

/// Has an executable of the folder use the folder's dynamic loader and libraries, wherever it is started from. Its `RPATH` (not
/// `RUNPATH`) holds for the libraries of extension modules as well.
fn adopt(executable: &Path, patchelf: &Path) -> Outcome {
    let mut command = Command::new(patchelf);
    command.arg("--set-interpreter").arg(loader()).args(["--force-rpath", "--set-rpath"]);
    run(command.arg(folder().join(LIBRARIES)).arg(executable))?;
    run(Command::new(executable).args(["-c", "import ctypes, ssl, sqlite3"]))
}

/// Of a version that is known to work: 0.17 and 0.18 break executables that are not position-independent, as these are.
fn patchelf() -> Outcome<PathBuf> {
    let python = venv::python_with("patchelf", &Interpreter::default_one()?, &root().join("xtask/patchelf.txt"))?;
    Ok(python.with_file_name("patchelf"))
}

fn loader() -> PathBuf {
    folder().join(LIBRARIES).join("ld-linux-x86-64.so.2")
}

fn link_shared(version: &str) -> Outcome {
    let source = folder().join("usr/src/shared_main.c");
    std::fs::write(&source, SHARED_MAIN).map_err(|error| format!("{}: {error}", source.display()))?;
    let libraries = folder().join(LIBRARIES);
    let mut command = Command::new("cc");
    command.arg("-o").arg(folder().join(format!("usr/bin/python{version}-shared"))).arg(source);
    command.arg(libraries.join(format!("libpython{version}.so.1.0")));
    // The library needs symbols of the newer C library, which is there only when the program runs.
    command.arg("-Wl,--allow-shlib-undefined,--disable-new-dtags");
    command.arg(format!("-Wl,--dynamic-linker={},-rpath,{}", loader().display(), libraries.display()));
    run(&mut command)
}
