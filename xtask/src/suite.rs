//! `cargo xtask test`: format, lints, build and every test, on every interpreter found.
use crate::interpreter::{self, Interpreter};
use crate::shell::{self, Outcome};
use crate::{flights, package, sid, stdlib, venv};
use std::path::PathBuf;
use std::process::Command;

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    let skip_lints = shell::take_flag(&mut arguments, "--no-lints");
    shell::refuse_rest(&arguments)?;
    // What the tests run is built on one side; on the other what is shipped is built, and then tested. Each has steps in which only one
    // processor has work, or none, as while Debian's interpreters come over the network.
    let (built, shipped) = std::thread::scope(|scope| {
        let built = scope.spawn(|| build(skip_lints));
        let shipped = Shipped::test(&names);
        (built.join().unwrap_or_else(|_| Err("the build panicked".into())), shipped)
    });
    built?;
    let Shipped { machine: Machine { interpreters, builds }, flights, checking_agent, environments, outcome: shipped } =
        shipped?;
    // The last step, so that its result lines close the output.
    let mut tests = shell::cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.env("MEMLENS_TEST_PYTHONS", paths(&interpreters)).env("MEMLENS_TEST_FLIGHTS_PYTHON", flights);
    tests.env("MEMLENS_TEST_CHECKING_AGENT", checking_agent).env("MEMLENS_TEST_BUILDS", paths(&builds));
    tests.env("MEMLENS_TEST_GREENLETS", paths(&environments.greenlets));
    if let Some(python) = environments.wheels {
        tests.env("MEMLENS_TEST_WHEELS_PYTHON", python);
    }
    tests.env("MEMLENS_TEST_SERVICES", paths(&environments.services));
    let outcome = shell::run(&mut tests);
    eprintln!("\n{}", machine(&interpreters, &builds));
    shipped.and(outcome)
}

/// Lints, and builds the tests and what they run.
fn build(skip_lints: bool) -> Outcome {
    if !skip_lints {
        lint()?;
    }
    shell::build_test_libraries()?;
    shell::run_beside(&mut shell::cargo(&["test", "--workspace", "--no-run"]))
}

/// The release build, on what it was tested, and what came of that.
struct Shipped {
    machine: Machine,
    flights: PathBuf,
    checking_agent: PathBuf,
    environments: Environments,
    outcome: Outcome,
}

impl Shipped {
    /// Builds the command and the Python package, and tests the package, and CPython with the command.
    fn test(names: &[String]) -> Outcome<Self> {
        let (machine, built) = std::thread::scope(|scope| {
            let machine = scope.spawn(|| Machine::find(names));
            let built = shell::build_release().and_then(|()| build_checking_agent());
            (machine.join().unwrap_or_else(|_| Err("looking for interpreters panicked".into())), built)
        });
        let (machine, checking_agent) = (machine?, built?);
        let interpreters = &machine.interpreters;
        eprintln!("{}", self::machine(interpreters, &machine.builds));
        let flights = flights::python(&default_of(interpreters)?)?;
        // Before the rest, for it may build the command again.
        let wheel = package::build_wheel()?;
        // CPython's own tests wait more than they compute: the package is tested meanwhile.
        let (package, stdlib, environments) = std::thread::scope(|scope| {
            let package = scope.spawn(|| package::check(interpreters, &wheel));
            let stdlib = stdlib::check(interpreters, &[]);
            let environments = Environments::make(interpreters);
            (package.join().unwrap_or_else(|_| Err("the package's tests panicked".into())), stdlib, environments)
        });
        Ok(Self { flights, checking_agent, environments, outcome: stdlib.and(package), machine })
    }
}

/// Virtual environments that tests of one subject want.
struct Environments {
    greenlets: Vec<Interpreter>,
    wheels: Option<PathBuf>,
    services: Vec<Interpreter>,
}

impl Environments {
    fn make(interpreters: &[Interpreter]) -> Self {
        Self {
            greenlets: with_greenlets(interpreters),
            wheels: with_wheels(interpreters),
            services: with_services(interpreters),
        }
    }
}

/// What there is to test on.
pub struct Machine {
    /// One interpreter of each minor version, and free-threaded ones after them.
    pub interpreters: Vec<Interpreter>,
    /// Other builds of these versions.
    pub builds: Vec<Interpreter>,
}

impl Machine {
    /// The interpreters of these names; if none is named, all that are found, and Debian's, which are made first.
    pub fn find(names: &[String]) -> Outcome<Self> {
        if !names.is_empty() {
            return Ok(Self { interpreters: interpreter::named_or_all(names)?, builds: Vec::new() });
        }
        if let Err(reason) = sid::make() {
            eprintln!("CPython 3.14 and 3.15 from Debian are left out: {reason}");
        }
        let mut interpreters = interpreter::named_or_all(names)?;
        interpreters.extend(interpreter::free_threaded());
        let builds = interpreter::other_builds(&interpreters);
        Ok(Self { interpreters, builds })
    }
}

/// Environments with greenlet and gevent, of one interpreter of each way in which frames are laid out.
pub fn with_greenlets(interpreters: &[Interpreter]) -> Vec<Interpreter> {
    let requirements = shell::root().join("tests/programs/greenlet_requirements.txt");
    let mut environments = Vec::new();
    for interpreter in interpreters.iter().filter(|one| !matches!(one.minor, 9 | 10) && !one.is_free_threaded) {
        match venv::python_with("greenlet", interpreter, &requirements) {
            Ok(path) => environments.push(Interpreter { path, ..interpreter.clone() }),
            Err(reason) => eprintln!("greenlets are not tested on {}: {reason}", interpreter.version()),
        }
    }
    environments
}

/// An environment with polars and pyarrow, which carry allocators of their own, and memray, whose driver is an oracle: of one interpreter, for
/// they are large.
fn with_wheels(interpreters: &[Interpreter]) -> Option<PathBuf> {
    let requirements = shell::root().join("tests/programs/wheels_requirements.txt");
    let interpreter = interpreters.iter().find(|interpreter| interpreter.minor == 12).or(interpreters.last())?;
    let python = venv::python_with("wheels", interpreter, &requirements);
    python.inspect_err(|reason| eprintln!("polars, pyarrow and memray's driver are not tested: {reason}")).ok()
}

/// An environment with gunicorn and joblib, of the flights test's interpreter: what they do with processes is theirs, not its.
fn with_services(interpreters: &[Interpreter]) -> Vec<Interpreter> {
    let requirements = shell::root().join("tests/programs/process_requirements.txt");
    let made = default_of(interpreters).and_then(|interpreter| {
        let path = venv::python_with("services", &interpreter, &requirements)?;
        Ok(Interpreter { path, ..interpreter })
    });
    made.map_err(|reason| eprintln!("gunicorn and joblib are not tested: {reason}")).into_iter().collect()
}

/// The agent that holds every stack against a full walk, apart from the others' target folder.
pub fn build_checking_agent() -> Outcome<PathBuf> {
    let folder = shell::target().join("check");
    let mut build = shell::cargo(&["build", "--release", "-p", "memlens-agent", "--features", "check-stacks"]);
    shell::run(build.arg("--target-dir").arg(&folder))?;
    Ok(folder.join("release/libmemlens_agent.so"))
}

fn lint() -> Outcome {
    if has_component("fmt") {
        shell::run_beside(&mut shell::cargo(&["fmt", "--all", "--check"]))?;
    }
    if has_component("clippy") {
        shell::run_beside(&mut shell::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// A minimal toolchain has neither; the tests are worth running all the same.
fn has_component(name: &str) -> bool {
    let found = shell::cargo(&[name, "--version"]).output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("cargo {name} is not installed: its check is left out");
    }
    found
}

/// The flights test runs on `python3` if that is among the interpreters, else on the newest.
fn default_of(interpreters: &[Interpreter]) -> Outcome<Interpreter> {
    let default = Interpreter::default_one().ok().filter(|default| interpreters.contains(default));
    default
        .or_else(|| interpreters.iter().rfind(|one| !one.is_free_threaded).cloned())
        .ok_or_else(|| "no interpreter".into())
}

/// Their paths, as the tests want them.
pub fn paths(interpreters: &[Interpreter]) -> std::ffi::OsString {
    let paths = interpreters.iter().map(|interpreter| &interpreter.path);
    std::env::join_paths(paths).unwrap_or_default()
}

/// What this machine offers, and what therefore was not tested.
fn machine(interpreters: &[Interpreter], builds: &[Interpreter]) -> String {
    let mut text = String::from("interpreters:");
    for minor in interpreter::SUPPORTED_MINORS {
        let found = interpreters.iter().find(|one| one.minor == minor && !one.is_free_threaded);
        let path = found.map_or_else(|| "not found".into(), |interpreter| interpreter.path.display().to_string());
        text.push_str(&format!("\n  3.{minor:<3} {path}"));
    }
    for interpreter in interpreters.iter().filter(|one| one.is_free_threaded) {
        text.push_str(&format!("\n  without the GIL {:8} {}", interpreter.version(), interpreter.path.display()));
    }
    for build in builds {
        text.push_str(&format!("\n  other build {:8} {}", build.version(), build.path.display()));
    }
    text.push_str(&format!("\n  cc    {}", version_line("cc")));
    text.push_str(&format!("\n  c++   {}", version_line("c++")));
    text
}

fn version_line(compiler: &str) -> String {
    let output = Command::new(compiler).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("not found").to_owned()
}
