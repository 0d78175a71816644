//! `cargo xtask stdlib`: CPython's own test modules under memlens. A module that passes without it must pass with it.
use crate::interpreter::{self, Interpreter};
use crate::shell::{self, Outcome};
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

/// Recorded on these versions.
const MINORS: std::ops::RangeInclusive<u32> = 11..=13;

/// A job that a shell started in the background ignores SIGINT, and some of the modules then fail: undo that.
const WITH_SIGINT: &str = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])";

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

/// Runs the modules (or only those named) on every interpreter of 3.11 to 3.13; fails if memlens breaks one of them.
pub fn check(interpreters: &[Interpreter], only: &[String]) -> Outcome {
    let mut broken = Vec::new();
    for interpreter in interpreters
        .iter()
        .filter(|interpreter| MINORS.contains(&interpreter.minor))
    {
        for module in MODULES
            .into_iter()
            .filter(|module| only.is_empty() || only.iter().any(|name| name == module))
        {
            let verdict = compare(interpreter, module)?;
            eprintln!(
                "stdlib {:8} {module:16} {}",
                interpreter.version(),
                verdict.words()
            );
            if let Verdict::Broken { log, .. } = verdict {
                broken.push(format!(
                    "{module} on {} (log: {})",
                    interpreter.version(),
                    log.display()
                ));
            }
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("memlens breaks {}", broken.join(", ")))
    }
}

enum Verdict {
    Passes { plain: Duration, recorded: Duration },
    FailsWithoutMemlens,
    Broken { log: PathBuf, recorded: Duration },
}

impl Verdict {
    fn words(&self) -> String {
        match self {
            Self::Passes { plain, recorded } => {
                format!(
                    "passes ({:.1} s plain, {:.1} s recorded)",
                    plain.as_secs_f64(),
                    recorded.as_secs_f64()
                )
            }
            Self::FailsWithoutMemlens => "fails without memlens too: not compared".into(),
            Self::Broken { log, recorded } => {
                format!(
                    "BROKEN by memlens after {:.1} s: {}",
                    recorded.as_secs_f64(),
                    log.display()
                )
            }
        }
    }
}

fn compare(interpreter: &Interpreter, module: &str) -> Outcome<Verdict> {
    let folder = shell::target().join("stdlib").join(interpreter.version());
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut plain = with_sigint(interpreter, &interpreter.path);
    plain.args(["-m", "test", module]);
    let plain = timed(&mut plain, &folder, &format!("{module}.plain.log"))?;
    if !plain.passed {
        return Ok(Verdict::FailsWithoutMemlens);
    }
    let mut recorded = with_sigint(interpreter, &shell::memlens());
    recorded
        .args(["run", "-q", "--force", "-o"])
        .arg(folder.join(format!("{module}.mlens")));
    recorded
        .arg("--python")
        .arg(&interpreter.path)
        .args(["-m", "test", module]);
    let log = format!("{module}.recorded.log");
    let recorded = timed(&mut recorded, &folder, &log)?;
    Ok(match recorded.passed {
        true => Verdict::Passes {
            plain: plain.time,
            recorded: recorded.time,
        },
        false => Verdict::Broken {
            log: folder.join(log),
            recorded: recorded.time,
        },
    })
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
    command
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .stdout(output)
        .stderr(errors);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Timed {
                passed: status.success(),
                time: start.elapsed(),
            });
        }
        if start.elapsed() > TIME_LIMIT {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|error| error.to_string())?;
            return Ok(Timed {
                passed: false,
                time: start.elapsed(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
