//! `memlens run` as a process: bad input, exit status, signals, command line, files. The agent is a fake one that only says
//! hello, so that what is tested here is the command alone.
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A folder to work in, with a script in it.
struct Workshop {
    folder: TempDir,
}

impl Workshop {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script.py"), script).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memlens"));
        command.arg("run").args(words).current_dir(self.path()).env("MEMLENS_AGENT", fake_agent());
        command.env_remove("LD_PRELOAD");
        command
    }

    /// Runs it with the test's interpreter.
    fn run(&self, words: &[&str]) -> Output {
        let python = python();
        let words: Vec<&str> = ["--python", python].iter().chain(words).copied().collect();
        self.command(&words).output().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "__pycache__")
            .collect();
        names.sort();
        names
    }

    /// Asserts that the command refuses its input: one line that has `text`, status 2, and no file more than before.
    fn assert_refused(&self, command: &mut Command, text: &str) {
        let before = self.files();
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.starts_with("memlens: ") && message.contains(text), "{message}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
        assert_eq!(self.files(), before);
    }
}

fn fake_agent() -> &'static Path {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_agent.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fake_agent_{}.so", std::process::id()));
        let version = format!("-DSHARED_VERSION={}", memlens_format::shared::SHARED_VERSION);
        let status = Command::new("cc").args(["-shared", "-fPIC", &version, "-o"]).arg(&library).arg(source).status();
        assert!(status.unwrap().success());
        library
    })
}

/// A real interpreter (no shim) on PATH.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

#[test]
fn bad_input_is_one_line_and_leaves_nothing() {
    let work = Workshop::new("open('ran', 'w')");
    fs::write(work.path().join("there.mlens"), "precious").unwrap();
    fs::create_dir(work.path().join("a folder")).unwrap();
    fs::write(work.path().join("plain"), "text").unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["missing.py"], "no such script: missing.py"),
        (&[], "nothing to run"),
        (&["-m"], "-m needs"),
        (&["-X", "dev", "script.py"], "-X"),
        (&["--output"], "--output"),
        (&["--python", "no-such-python", "script.py"], "no such interpreter: no-such-python"),
        (&["--python", "./no/python", "script.py"], "no such interpreter: ./no/python"),
        (&["--python", "./plain", "script.py"], "cannot execute the interpreter ./plain"),
        (&["-o", "there.mlens", "script.py"], "there.mlens exists already"),
        (&["-o", "nowhere/x.mlens", "script.py"], "cannot write nowhere/x.mlens"),
        (&["--force", "-o", "a folder", "script.py"], "a folder is not a file"),
        (&["-o", "/proc/x.mlens", "script.py"], "cannot write /proc/x.mlens"),
    ];
    for (words, text) in cases {
        work.assert_refused(&mut work.command(words), text);
    }
    assert_eq!(fs::read_to_string(work.path().join("there.mlens")).unwrap(), "precious");
}

#[test]
fn a_missing_agent_is_one_line() {
    let work = Workshop::new("open('ran', 'w')");
    work.assert_refused(work.command(&["script.py"]).env("MEMLENS_AGENT", "/no/agent.so"), "no agent at /no/agent.so");
}

#[test]
fn an_interpreter_that_cannot_be_recorded_is_named_and_never_runs() {
    let work = Workshop::new("open('ran', 'w')");
    for (kind, version, text) in [
        ("2", "0x030812f0", "is CPython 3.8.18, which"),
        ("3", "0x030e00f0", "is a free-threaded CPython 3.14.0 in a build that memlens cannot record"),
        ("4", "0x030a0df0", "is a Python 3.10.13 other than CPython"),
        ("0", "0", "is not a Python interpreter"),
    ] {
        let mut command = work.command(&["--python", python(), "script.py"]);
        command.env("FAKE_PYTHON_KIND", kind).env("FAKE_PYTHON_VERSION", version);
        work.assert_refused(&mut command, text);
    }
    // The fake agent does not claim to know where tasks are.
    let mut command = work.command(&["--tasks", "--python", python(), "script.py"]);
    command.env("FAKE_PYTHON_KIND", "1").env("FAKE_PYTHON_VERSION", "0x030c01f0");
    work.assert_refused(&mut command, "is CPython 3.12.1 in a build whose asyncio tasks memlens cannot tell apart");
}

#[test]
fn the_exit_status_is_the_programs() {
    let work = Workshop::new(
        "import os, sys\nif sys.argv[1] == 'exit': sys.exit(int(sys.argv[2]))\nos.kill(os.getpid(), int(sys.argv[2]))",
    );
    for (how, number, status) in
        [("exit", "0", 0), ("exit", "7", 7), ("exit", "255", 255), ("kill", "9", 137), ("kill", "11", 139)]
    {
        let output = work.run(&["-q", "script.py", how, number]);
        assert_eq!(output.status.code(), Some(status), "{how} {number}: {output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn the_program_sees_what_it_would_see_without_memlens() {
    let work = Workshop::new(
        "import os, signal, sys\n\
         print(sys.argv, sys.path[0], __name__, __file__, os.getcwd(), sys.orig_argv[1:] if hasattr(sys, 'orig_argv') else '')\n\
         print(signal.pthread_sigmask(signal.SIG_BLOCK, []), [signal.getsignal(n) for n in signal.valid_signals()])\n\
         print(sorted(os.listdir('/proc/self/fd')), sys.stdin.read())\n",
    );
    let words: [&[&str]; 4] = [
        &["script.py", "-o", "x", "--force", "--", "-h"],
        &["-m", "script", "-q", "--python", "y"],
        &["-mscript", "-c", "z"],
        &["-c", "import sys; print(sys.argv)", "-o", "--", "x"],
    ];
    for words in words {
        let plain = Command::new(python()).args(words).current_dir(work.path()).output().unwrap();
        let recorded = work.run(words);
        assert!(plain.status.success() && recorded.status.success(), "{plain:?} {recorded:?}");
        assert_eq!(String::from_utf8(recorded.stdout).unwrap(), String::from_utf8(plain.stdout).unwrap());
    }
}

#[test]
fn options_of_memlens_come_first_in_every_spelling() {
    let work = Workshop::new("");
    for words in [["-qoa.mlens", "--force"], ["--output=a.mlens", "--force"], ["--force", "-oa.mlens"]] {
        let words: Vec<&str> = words.iter().copied().chain(["script.py", "-q"]).collect();
        assert!(work.run(&words).status.success());
        assert_eq!(work.files(), ["a.mlens", "script.py"]);
        fs::remove_file(work.path().join("a.mlens")).unwrap();
    }
    assert!(work.run(&["-c", "pass"]).status.success());
    let names = work.files();
    assert!(names[0].starts_with("memlens-c-") && names[0].ends_with(".mlens"), "{names:?}");
}

/// The bug: a worker that was killed in the first moment of its life made the recording of its whole pool incomplete.
#[test]
fn a_process_that_ends_before_it_records_misses_nothing_and_one_that_runs_on_does() {
    for (end, is_complete) in [("killed", true), ("failed", false)] {
        let work = Workshop::new("print('ran')");
        let words = ["-o", "a.mlens", "--python", python(), "script.py"];
        let output = work.command(&words).env("FAKE_END", end).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let capture = memlens_capture::open(&work.path().join("a.mlens")).unwrap().into_capture();
        assert_eq!(capture.meta.complete, is_complete, "{end}: {}", capture.meta.incomplete_reason);
        assert_eq!(capture.meta.incomplete_reason.contains("ran unrecorded"), !is_complete);
    }
}

#[test]
fn force_replaces_a_file_and_only_when_the_new_one_is_complete() {
    let work = Workshop::new("print(open('a.mlens').read())");
    fs::write(work.path().join("a.mlens"), "old").unwrap();
    let output = work.run(&["--force", "-o", "a.mlens", "script.py"]);
    assert_eq!(output.stdout, b"old\n");
    assert_ne!(fs::read(work.path().join("a.mlens")).unwrap(), b"old");
    assert_eq!(work.files(), ["a.mlens", "script.py"]);
}

#[test]
fn a_signal_to_memlens_alone_reaches_the_program_and_an_interrupt_does_not() {
    let work = Workshop::new(
        "import signal, sys\n\
         signal.signal(signal.SIGINT, lambda *_: print('interrupt'))\n\
         signal.signal(signal.SIGUSR1, lambda *_: print('user'))\n\
         def stop(*_): print('stop'); sys.exit(3)\n\
         signal.signal(signal.SIGTERM, stop)\n\
         print('ready', flush=True)\n\
         while True: signal.pause(); sys.stdout.flush()\n",
    );
    let mut command = work.command(&["--python", python(), "-q", "script.py"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "ready");
    let send = |signal: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    };
    send("-INT");
    send("-USR1");
    assert_eq!(lines.next().unwrap(), "user");
    send("-TERM");
    assert_eq!(lines.next().unwrap(), "stop");
    assert_eq!(lines.next(), None);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_program_outlives_memlens() {
    let work = Workshop::new(
        "import os, sys\nprint(os.getppid(), flush=True)\nsys.stdin.read()\nopen('survived', 'w')\nprint('done')",
    );
    let mut command = work.command(&["--python", python(), "-q", "script.py"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), child.id().to_string());
    let input = child.stdin.take();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    assert_eq!(lines.next().unwrap(), "done");
    assert!(work.files().contains(&"survived".to_owned()));
}

#[test]
fn a_script_may_lead_to_the_interpreter() {
    let work = Workshop::new("print('here')");
    let shim = work.path().join("shim");
    fs::write(&shim, format!("#!/bin/sh\nls / >/dev/null\nFAKE_PYTHON_KIND=1 exec {} \"$@\"\n", python())).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let log = work.path().join("log");
    let mut command = work.command(&["--python", "./shim", "-o", "a.mlens", "script.py"]);
    let output = command.env("FAKE_PYTHON_KIND", "0").env("FAKE_AGENT_LOG", &log).output().unwrap();
    assert_eq!(output.stdout, b"here\n");
    let told = fs::read_to_string(log).unwrap();
    let accepted: Vec<&str> = told.lines().map(|line| &line[..8]).collect();
    assert_eq!(accepted, ["accept 0", "accept 0", "accept 1"], "{told}");
    assert!(work.path().join("a.mlens").exists());
}

#[test]
fn a_program_that_never_says_hello_is_said_and_leaves_no_file() {
    let work = Workshop::new("print('here'); raise SystemExit(4)");
    let shim = work.path().join("shim");
    fs::write(&shim, format!("#!/bin/sh\nunset LD_PRELOAD\nexec {} \"$@\"\n", python())).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let output = work.command(&["--python", "./shim", "script.py"]).env("FAKE_PYTHON_KIND", "0").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(4), b"here\n".as_slice()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing could be recorded"));
    assert_eq!(work.files(), ["script.py", "shim"]);
}

#[test]
fn an_existing_preload_is_kept() {
    let work = Workshop::new("import os; print(os.environ['LD_PRELOAD'])");
    let other = OsStr::new("libc.so.6");
    let output = work.command(&["--python", python(), "-q", "script.py"]).env("LD_PRELOAD", other).output().unwrap();
    let value = String::from_utf8(output.stdout).unwrap();
    assert!(value.trim().ends_with(".so:libc.so.6"), "{value}");
}

/// Runs the workshop's script under `ulimit` with these options; what memlens said.
fn run_with_limit(work: &Workshop, limit: &str) -> String {
    let shell = format!("ulimit {limit}; exec \"$0\" run --python \"$1\" --force -o a.mlens script.py");
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).arg(work.command(&[]).get_program()).arg(python()).current_dir(work.path());
    let output = command.env("MEMLENS_AGENT", fake_agent()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "the program has run");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_limit_on_file_sizes_is_no_obstacle_to_recording() {
    let work = Workshop::new("import resource; print(resource.getrlimit(resource.RLIMIT_FSIZE))");
    for limit in ["-f 1048576", "-S -f 100"] {
        let message = run_with_limit(&work, limit);
        assert!(!message.contains("nothing could be recorded"), "{limit}: {message}");
        assert!(work.path().join("a.mlens").exists());
    }
}

#[test]
fn a_limit_on_file_sizes_that_is_too_low_is_named() {
    let work = Workshop::new("print()");
    let message = run_with_limit(&work, "-f 1000");
    // Root may lift the limit.
    let is_recorded = work.path().join("a.mlens").exists();
    assert!(is_recorded || message.contains("(ulimit -f)"), "{message}");
}
