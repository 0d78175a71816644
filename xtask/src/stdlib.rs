//! `cargo xtask stdlib`: CPython's own test modules under memlens. What passes without it must pass with it: where a module
//! fails, it runs once more without memlens, and the two are compared test by test.
use crate::interpreter::{self, Interpreter};
use crate::shell::{self, Outcome};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The modules that touch what memlens hooks.
const MODULES: [&str; 10] = [
    "test_list",
    "test_dict",
    "test_generators",
    "test_coroutines",
    "test_threading",
    "test_subprocess",
    "test_gc",
    "test_mmap",
    "test_ctypes",
    "test_sys",
];

/// What cannot pass, by the end of its name. `sys._debugmallocstats` prints pymalloc's figures only where pymalloc itself is
/// CPython's object allocator; whatever wraps it by `PyMem_SetAllocator` silences them, tracemalloc too.
const KNOWN: [&str; 1] = ["test_sys.SysModuleTest.test_debugmallocstats"];

/// Recorded on these versions.
const MINORS: std::ops::RangeInclusive<u32> = 11..=15;

/// A job that a shell started in the background ignores SIGINT, and some of the modules then fail: undo that.
const WITH_SIGINT: &str =
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])";

/// A hanging module is a failed one.
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    let only = shell::take_values(&mut arguments, "--only")?;
    shell::refuse_rest(&arguments)?;
    let interpreters = interpreter::named_or_all(&names)?;
    shell::build_release()?;
    check(&interpreters, &only)
}

/// Runs the modules (or only those named) on every interpreter from 3.11 on; fails if memlens breaks one of them.
pub fn check(interpreters: &[Interpreter], only: &[String]) -> Outcome {
    let mut broken = Vec::new();
    for interpreter in interpreters.iter().filter(|interpreter| MINORS.contains(&interpreter.minor)) {
        for module in MODULES.into_iter().filter(|module| only.is_empty() || only.iter().any(|name| name == module)) {
            let verdict = compare(interpreter, module)?;
            eprintln!("stdlib {:8} {module:16} {}", interpreter.version(), verdict.words());
            if let Verdict::Broken { tests, log } = verdict {
                broken.push(format!(
                    "{module} on {}: {} (log: {})",
                    interpreter.version(),
                    shown(&tests),
                    log.display()
                ));
            }
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("memlens breaks {}", broken.join(", "))) }
}

enum Verdict {
    Passes { recorded: Duration },
    FailsAlike { tests: BTreeSet<String> },
    Broken { tests: BTreeSet<String>, log: PathBuf },
}

impl Verdict {
    fn words(&self) -> String {
        match self {
            Self::Passes { recorded } => format!("passes ({:.1} s)", recorded.as_secs_f64()),
            Self::FailsAlike { tests } => {
                format!("passes but for what fails without memlens or is known: {}", shown(tests))
            }
            Self::Broken { tests, log } => format!("BROKEN by memlens: {} (log: {})", shown(tests), log.display()),
        }
    }
}

fn shown(tests: &BTreeSet<String>) -> String {
    if tests.is_empty() { "no test by name".into() } else { tests.iter().cloned().collect::<Vec<_>>().join(" ") }
}

fn compare(interpreter: &Interpreter, module: &str) -> Outcome<Verdict> {
    let folder = shell::target().join("stdlib").join(interpreter.version());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let words = ["-m", "test", "-v", module];
    let mut recorded = with_sigint(interpreter, &shell::memlens());
    recorded.args(["run", "-q", "--force", "-o"]).arg(folder.join(format!("{module}.mlens")));
    recorded.arg("--python").arg(&interpreter.path).args(words);
    let log = format!("{module}.recorded.log");
    let recorded = timed(&mut recorded, &folder, &log)?;
    if recorded.passed {
        return Ok(Verdict::Passes { recorded: recorded.time });
    }
    let log = folder.join(log);
    let failed = failed_tests(&log)?;
    let unknown: BTreeSet<String> =
        failed.iter().filter(|test| !KNOWN.iter().any(|known| test.ends_with(known))).cloned().collect();
    if !failed.is_empty() && unknown.is_empty() {
        return Ok(Verdict::FailsAlike { tests: failed });
    }
    let mut plain = with_sigint(interpreter, &interpreter.path);
    plain.args(words);
    let plain_log = format!("{module}.plain.log");
    let plain = timed(&mut plain, &folder, &plain_log)?;
    let plain_failed = failed_tests(&folder.join(plain_log))?;
    let broken: BTreeSet<String> = unknown.difference(&plain_failed).cloned().collect();
    // A module that ends without naming a test, by a crash say, is broken unless it ends so without memlens.
    let is_alike = broken.is_empty() && !plain.passed && failed.is_empty() == plain_failed.is_empty();
    Ok(if is_alike { Verdict::FailsAlike { tests: failed } } else { Verdict::Broken { tests: broken, log } })
}

/// The full names in unittest's headings of what failed: "FAIL: test_x (test.test_y.Class.test_x)".
fn failed_tests(log: &Path) -> Outcome<BTreeSet<String>> {
    let text = std::fs::read(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let names = text.lines().filter_map(|line| line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("ERROR: ")));
    Ok(names
        .map(|name| name.split_once('(').map_or(name, |(_, full)| full.trim_end().trim_end_matches(')')))
        .map(str::to_owned)
        .collect())
}

fn with_sigint(interpreter: &Interpreter, program: &Path) -> Command {
    let mut command = Command::new(&interpreter.path);
    command.args(["-I", "-S", "-c", WITH_SIGINT]).arg(program);
    command
}

struct Timed {
    passed: bool,
    time: Duration,
}

/// Runs a command with its output in a log file, and kills it at the time limit.
fn timed(command: &mut Command, folder: &Path, log: &str) -> Outcome<Timed> {
    let path = folder.join(log);
    let open = || File::create(&path).map_err(|error| format!("{}: {error}", path.display()));
    let output = open()?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let start = Instant::now();
    command.current_dir(folder).stdin(std::process::Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Timed { passed: status.success(), time: start.elapsed() });
        }
        if start.elapsed() > TIME_LIMIT {
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            return Ok(Timed { passed: false, time: start.elapsed() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
