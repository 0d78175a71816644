//! The Python package: wheels, its tests, and the scoreboard against other tools.
use crate::interpreter::{self, Interpreter};
use crate::shell::{self, Outcome};
use crate::venv;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Calls the project's own build backend, which builds the command and the agent as well.
const BUILD: &str = "import sys; sys.path.insert(0, 'packaging'); import build_with_command; \
     print(build_with_command.build_wheel(sys.argv[1]))";

/// Minor versions on which the tests run with pandas, pyarrow and polars too; elsewhere with numpy alone, for the time it takes.
const WITH_DATA: [u32; 2] = [10, 14];

/// `cargo xtask wheels`: one wheel for every CPython from 3.9 on, checked and tagged by auditwheel.
pub fn run_wheels(arguments: &[String]) -> Outcome {
    shell::refuse_rest(arguments)?;
    let wheel = build_wheel()?;
    eprintln!("\n{}", wheel.display());
    Ok(())
}

/// `cargo xtask scoreboard`: sizes and speed beside pympler, guppy3 and objsize; writes docs/scoreboard.md.
pub fn run_scoreboard(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let named = shell::take_values(&mut arguments, "--python")?.pop();
    let interpreter = named.map_or_else(Interpreter::default_one, |name| Interpreter::named(&name))?;
    let wheel = build_wheel()?;
    let python = venv::python_with("objects", &interpreter, &shell::root().join("bench/requirements-objects.txt"))?;
    venv::install_wheel(&interpreter, &python, &wheel)?;
    let mut command = Command::new(python);
    command.arg(shell::root().join("bench/objects.py")).args(arguments);
    shell::run(&mut command)
}

/// `cargo xtask package`: the package's tests alone.
pub fn run_tests(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    shell::refuse_rest(&arguments)?;
    let interpreters = interpreter::named_or_all(&names)?;
    check(&interpreters, &build_wheel()?)
}

/// Minor versions that the package is for.
const PACKAGED: std::ops::RangeInclusive<u32> = 9..=14;

/// The package's tests on each interpreter that it is for, as many at a time as there are cores: each is one thread's work.
pub fn check(interpreters: &[Interpreter], wheel: &Path) -> Outcome {
    let is_meant = |one: &&Interpreter| PACKAGED.contains(&one.minor) && !one.is_free_threaded;
    let waiting = Mutex::new(interpreters.iter().filter(is_meant));
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let work = || {
        std::iter::from_fn(next).filter_map(|interpreter| check_on(interpreter, wheel).err()).collect::<Vec<String>>()
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<String>>| {
            worker.join().unwrap_or_else(|_| vec!["the package's tests: a panic".to_owned()])
        };
        workers.into_iter().flat_map(join).collect::<Vec<String>>()
    });
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn check_on(interpreter: &Interpreter, wheel: &Path) -> Outcome {
    let has_data = WITH_DATA.contains(&interpreter.minor);
    let requirements = if has_data { "requirements-data.txt" } else { "requirements.txt" };
    let folder = shell::root().join("tests/python");
    let python = venv::python_with("package", interpreter, &folder.join(requirements))?;
    venv::install_wheel(interpreter, &python, wheel)?;
    let mut tests = Command::new(&python);
    shell::run_beside(tests.args(["-m", "pytest", "-q", "tests/python"]).current_dir(shell::root()))?;
    if has_data { check_types(&python) } else { Ok(()) }
}

/// The stubs against the module, and the Python side by mypy's strict rules.
fn check_types(python: &Path) -> Outcome {
    let mut strict = Command::new(python);
    shell::run(strict.args(["-m", "mypy"]).current_dir(shell::root()))?;
    let mut stubs = Command::new(python);
    shell::run(stubs.args(["-m", "mypy.stubtest", "memlens"]).current_dir(shell::target()))
}

/// The wheel, checked and tagged by auditwheel.
pub fn build_wheel() -> Outcome<PathBuf> {
    // The newest: maturin and auditwheel no longer run on the oldest.
    let is_packaged = |interpreter: &Interpreter| PACKAGED.contains(&interpreter.minor);
    let newest = interpreter::named_or_all(&[])?.into_iter().rfind(is_packaged).ok_or("no CPython 3.9 to 3.14")?;
    let python = venv::python_with("build", &newest, &shell::root().join("packaging/requirements.txt"))?;
    let raw = emptied(&shell::target().join("wheels/raw"))?;
    let mut build = with_tools(&python);
    shell::run(build.args(["-c", BUILD]).arg(&raw))?;
    let checked = emptied(&shell::target().join("wheels/checked"))?;
    let mut audit = with_tools(&python);
    shell::run(audit.args(["-m", "auditwheel", "repair", "-w"]).arg(&checked).arg(only_wheel(&raw)?))?;
    only_wheel(&checked)
}

/// The environment's Python, whose own tools come first on PATH.
fn with_tools(python: &Path) -> Command {
    let mut paths: Vec<PathBuf> = python.parent().map(Path::to_path_buf).into_iter().collect();
    paths.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let mut command = Command::new(python);
    command.current_dir(shell::root()).env("PATH", std::env::join_paths(paths).unwrap_or_default());
    command
}

fn emptied(folder: &Path) -> Outcome<PathBuf> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(failed)?;
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    Ok(folder.to_path_buf())
}

fn only_wheel(folder: &Path) -> Outcome<PathBuf> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut wheels =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "whl"));
    wheels.next().ok_or_else(|| format!("no wheel in {}", folder.display()))
}
