//! What the tests share: the interpreters to test, a program recorded by the real binary, and its capture with names.
//!
//! `cargo xtask test` lists the interpreters in MEMLENS_TEST_PYTHONS; without it, `python3` alone is tested.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

pub mod observed;
pub mod random_stacks;

pub use observed::{FrameName, Observed};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The binary under test.
pub const MEMLENS: &str = env!("CARGO_BIN_EXE_memlens");

/// An interpreter under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    pub path: PathBuf,
    pub minor: u32,
    /// `sys.getsizeof(b"")`: what a bytes object costs besides its length, more where there is no GIL.
    pub bytes_header: u64,
}

/// [`Python::bytes_header`] where there is a GIL.
const HEADER_WITH_GIL: u64 = 33;

/// The interpreters under test.
pub fn pythons() -> Vec<Python> {
    let listed = std::env::var_os("MEMLENS_TEST_PYTHONS").unwrap_or_else(|| "python3".into());
    let pythons: Vec<Python> = std::env::split_paths(&listed).map(|path| Python::at(&path)).collect();
    assert!(!pythons.is_empty(), "MEMLENS_TEST_PYTHONS is empty");
    pythons
}

/// Other builds of the same versions (static, shared, a distribution's), for what depends on the build. `cargo xtask test` lists them in
/// MEMLENS_TEST_BUILDS.
pub fn other_builds() -> Vec<Python> {
    listed("MEMLENS_TEST_BUILDS")
}

/// Interpreters of virtual environments that have greenlet and gevent. `cargo xtask test` lists them in MEMLENS_TEST_GREENLETS.
pub fn pythons_with_greenlets() -> Vec<Python> {
    listed("MEMLENS_TEST_GREENLETS")
}

/// Interpreters of virtual environments that have gunicorn and joblib. `cargo xtask test` lists them in MEMLENS_TEST_SERVICES.
pub fn pythons_with_services() -> Vec<Python> {
    listed("MEMLENS_TEST_SERVICES")
}

/// The interpreter with polars, pyarrow and memray. `cargo xtask test` names it in MEMLENS_TEST_WHEELS_PYTHON.
pub fn python_with_wheels() -> Option<Python> {
    listed("MEMLENS_TEST_WHEELS_PYTHON").pop()
}

fn listed(variable: &str) -> Vec<Python> {
    let listed = std::env::var_os(variable).unwrap_or_default();
    let found: Vec<Python> = std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| Python::at(&path))
        .collect();
    if found.is_empty() {
        eprintln!("skipped: {variable} lists no interpreter (`cargo xtask test` sets it)");
    }
    found
}

/// One interpreter, for what does not depend on its version: `python3` if it was listed, else the newest.
pub fn any_python() -> Python {
    let default = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let default = default.map(|output| PathBuf::from(text(&output.stdout).trim_end())).unwrap_or_default();
    let mut pythons = pythons();
    let chosen = pythons.iter().position(|python| python.path == default).unwrap_or(pythons.len() - 1);
    pythons.swap_remove(chosen)
}

impl Python {
    fn at(path: &Path) -> Self {
        let code = "import sys; print(sys.version_info[1], sys.getsizeof(b''), sys.executable)";
        let output = Command::new(path).args(["-c", code]).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let answer = text(&output.stdout);
        let words: Vec<&str> = answer.trim_end().splitn(3, ' ').collect();
        let [minor, bytes_header, executable] = words[..] else { panic!("{}: {answer}", path.display()) };
        Self {
            path: executable.into(),
            minor: minor.parse().expect("a minor version"),
            bytes_header: bytes_header.parse().expect("a size"),
        }
    }

    /// Whether it is a build without the GIL.
    pub fn is_free_threaded(&self) -> bool {
        self.bytes_header > HEADER_WITH_GIL
    }

    /// For messages.
    pub fn name(&self) -> String {
        format!("Python 3.{} ({})", self.minor, self.path.display())
    }

    /// Runs it without memlens.
    pub fn run(&self, arguments: &[&OsStr], folder: &Path) -> Output {
        let mut command = Command::new(&self.path);
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }
}

/// The folder of the programs that the tests record.
pub fn programs() -> PathBuf {
    checkout().join("tests/programs")
}

/// The checkout's root.
pub fn checkout() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the checkout")
}

/// A new, empty folder. It stays after the test, under the target folder, to be looked at.
pub fn new_folder(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder under the target folder");
    folder
}

/// A `memlens run` to come.
pub struct Recorder {
    command: Command,
    folder: PathBuf,
    capture: PathBuf,
    input: Vec<u8>,
}

/// A program that was recorded.
pub struct Recording {
    pub output: Output,
    pub capture: PathBuf,
    pub folder: PathBuf,
}

impl Recorder {
    /// Quiet, into a folder of its own, in which the program also runs.
    pub fn new(python: &Python, name: &str) -> Self {
        require_agent();
        let folder = new_folder(name);
        let capture = folder.join("capture.mlens");
        let mut command = Command::new(MEMLENS);
        command.arg("run").arg("-q").arg("-o").arg(&capture).arg("--python").arg(&python.path);
        // A fixed hash seed: sets and dicts are laid out alike in every run.
        command.current_dir(&folder).env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        Self { command, folder, capture, input: Vec::new() }
    }

    /// Starts memlens itself within a control group, whose `cgroup.procs` this is.
    pub fn within(self, processes: &Path) -> Self {
        self.after("echo $$ > \"$0\"", processes)
    }

    /// Starts memlens itself from a shell that has done something before; `$0` in that is `argument`.
    pub fn after(self, words: &str, argument: &Path) -> Self {
        let shell = format!("{words} && exec \"$@\"");
        self.behind("sh", &["-c".as_ref(), shell.as_ref(), argument.as_ref()])
    }

    /// Starts memlens itself by another program, which takes a command as its last arguments.
    pub fn behind(mut self, program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Self {
        let mut launcher = Command::new(program);
        launcher.args(arguments).arg(self.command.get_program());
        launcher.args(self.command.get_args()).current_dir(&self.folder);
        let variables = self.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        launcher.envs(variables);
        self.command = launcher;
        self
    }

    /// One of the programs in `tests/programs`.
    pub fn program(self, name: &str) -> Self {
        let path = programs().join(name);
        assert!(path.exists(), "no such program: {}", path.display());
        self.argument(path)
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub fn working_directory(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Runs to the end, whatever the end is.
    pub fn record(mut self) -> Recording {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{MEMLENS}: {error}"));
        let mut pipe = child.stdin.take().expect("a pipe");
        let input = std::mem::take(&mut self.input);
        let writer = std::thread::spawn(move || pipe.write_all(&input));
        let output = child.wait_with_output().expect("the output of memlens run");
        // A program that does not read its input closes the pipe: no failure of the test.
        let _ = writer.join();
        Recording { output, capture: self.capture, folder: self.folder }
    }

    /// Runs a program that must end with status 0 and leave a complete capture.
    pub fn succeed(self) -> Recording {
        let recording = self.record();
        recording.assert_status(0);
        recording
    }
}

impl Recording {
    pub fn stdout(&self) -> String {
        text(&self.output.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.output.stderr)
    }

    pub fn assert_status(&self, expected: i32) {
        let found = self.output.status.code();
        assert_eq!(found, Some(expected), "stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
    }

    /// What the program wrote to its standard output, as JSON.
    pub fn answer(&self) -> serde_json::Value {
        let text = self.stdout();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}\nstdout:\n{text}\nstderr:\n{}", self.stderr()))
    }

    /// The capture, which must be whole.
    pub fn observed(&self) -> Observed {
        let observed = self.observed_in_part();
        let meta = &observed.capture.meta;
        assert!(meta.complete, "{}: {}", self.capture.display(), meta.incomplete_reason);
        observed
    }

    /// The capture, which may say that it is incomplete.
    pub fn observed_in_part(&self) -> Observed {
        let opened = memlens_capture::open(&self.capture);
        let opened = opened.unwrap_or_else(|error| panic!("{error}\nstderr:\n{}", self.stderr()));
        Observed::of(&opened.into_capture())
    }

    /// `memlens WORDS CAPTURE`, which must succeed.
    pub fn command(&self, words: &[&str]) -> Output {
        let output = Command::new(MEMLENS).args(words).arg(&self.capture).output();
        let output = output.unwrap_or_else(|error| panic!("{MEMLENS}: {error}"));
        assert!(output.status.success(), "memlens {words:?}: {}", text(&output.stderr));
        output
    }

    /// `memlens COMMAND --json CAPTURE`.
    pub fn json(&self, command: &str) -> serde_json::Value {
        let output = self.command(&[command, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
    }
}

/// Bytes as text, whatever they are.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `cargo test` alone does not build a cdylib that nothing links; `cargo xtask test` does.
fn require_agent() {
    let agent = Path::new(MEMLENS).with_file_name("libmemlens_agent.so");
    assert!(agent.exists(), "{} is missing: run `cargo build --workspace` (`cargo xtask test` does)", agent.display());
}

/// Compiles a C or C++ source from `tests/programs` as a shared library.
pub fn compile_library(compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let library = new_folder("library").join("libprogram.so");
    let mut command = Command::new(compiler);
    command
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-shared", "-fPIC", "-pthread"])
        .args(flags);
    let output = command.arg("-o").arg(&library).arg(programs().join(source)).output();
    let output = output.unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(output.status.success(), "{compiler} {source}:\n{}", text(&output.stderr));
    library
}

/// Compiles one of the programs to an executable whose symbols a preloaded library finds, as those of a static interpreter.
pub fn compile_interpreter(source: &str) -> PathBuf {
    let executable = new_folder("interpreter").join("interpreter");
    let mut command = Command::new("cc");
    command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o"]).arg(&executable);
    let output = command.arg(programs().join(source)).output().unwrap_or_else(|error| panic!("cc: {error}"));
    assert!(output.status.success(), "cc {source}:\n{}", text(&output.stderr));
    executable
}

/// Whether there is such a program.
pub fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
