//! `memlens heap PID`: programs that are asked for a snapshot while they run.
mod recording;

use recording::{MEMLENS, Python, new_folder, programs, pythons, text};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The interpreters that can be asked.
fn askable() -> Vec<Python> {
    let is_askable = |python: &Python| python.minor == 14 && !python.is_free_threaded();
    let found: Vec<Python> = pythons().into_iter().filter(is_askable).collect();
    if found.is_empty() {
        eprintln!("skipped: no CPython 3.14 is under test");
    }
    found
}

/// The program that waits for a line, with a folder for its temporary files.
struct Service {
    child: Child,
    folder: PathBuf,
}

impl Service {
    fn start(python: &Python, kind: &str, variables: &[(&str, &str)]) -> Self {
        let folder = new_folder("heap_process");
        let mut command = Command::new(&python.path);
        command
            .arg(programs().join("heap_service.py"))
            .arg(kind)
            .env("TMPDIR", &folder)
            .envs(variables.iter().copied());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the service");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::with_capacity(1, output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self { child, folder }
    }

    fn ask(&self, options: &[&str]) -> Output {
        heap(&[&[self.child.id().to_string().as_str()], options].concat(), &self.folder)
    }

    /// Has it end by itself, and checks that nobody sees that it was asked: output, exit status, children, files.
    fn end(mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        assert_eq!(std::fs::read_to_string(children).expect("its children"), "");
        self.child.stdin.take().expect("a pipe").write_all(b"\n").expect("to tell it to end");
        let output = self.child.wait_with_output().expect("its end");
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("100\n".into(), String::new()));
        assert!(output.status.success());
        let left = std::fs::read_dir(&self.folder).expect("its folder").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "taken.mlheap").collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

fn heap(arguments: &[&str], folder: &Path) -> Output {
    Command::new(MEMLENS).arg("heap").args(arguments).current_dir(folder).output().expect("memlens")
}

fn json(output: &Output) -> serde_json::Value {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn refusal(output: &Output) -> String {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let message = text(&output.stderr);
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

fn paths_of_top(overview: &serde_json::Value) -> Vec<&str> {
    overview["top"].as_array().expect("rows").iter().filter_map(|row| row["path"].as_str()).collect()
}

#[test]
fn a_program_that_computes_answers_and_goes_on() {
    for python in askable() {
        let service = Service::start(&python, "computes", &[]);
        let overview = json(&service.ask(&["--json"]));
        assert_eq!(overview["pid"], service.child.id());
        assert!(paths_of_top(&overview).contains(&"__main__.SESSIONS"), "{overview}");
        let sessions = json(&service.ask(&["--by", "type", "--json"]));
        let of_sessions =
            sessions["types"].as_array().expect("rows").iter().find(|row| row["type"] == "__main__.Session");
        assert_eq!(of_sessions.expect("sessions")["count"], 100);
        // However often it is asked, the extension is loaded once.
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", service.child.id())).expect("its mappings");
        let loaded = maps.lines().filter(|line| line.contains("_native.abi3.so") && line.contains("r-xp"));
        assert_eq!(loaded.count(), 1, "{maps}");
        service.end();
    }
}

#[test]
fn the_snapshot_can_be_kept_and_is_a_file_as_any_other() {
    for python in askable() {
        let service = Service::start(&python, "computes", &[]);
        let output = service.ask(&["-o", "taken.mlheap"]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        let again = refusal(&service.ask(&["-o", "taken.mlheap"]));
        assert_eq!(again, "memlens: taken.mlheap exists already; --force replaces it\n");
        let overview = json(&heap(&["taken.mlheap", "--json"], &service.folder));
        assert!(paths_of_top(&overview).contains(&"__main__.SESSIONS"), "{overview}");
        service.end();
    }
}

/// `sys.remote_exec` asks the main thread alone, which may wait for the others for ever.
#[test]
fn another_thread_answers_when_the_main_one_waits_for_it() {
    for python in askable() {
        let service = Service::start(&python, "joins", &[]);
        let overview = json(&service.ask(&["--json"]));
        assert!(paths_of_top(&overview).contains(&"__main__.SESSIONS"), "{overview}");
        service.end();
    }
}

#[test]
fn a_program_that_runs_no_python_code_is_given_up_and_nothing_is_left_in_it() {
    for python in askable() {
        let service = Service::start(&python, "waits", &[]);
        let message = refusal(&service.ask(&["--timeout", "1"]));
        let expected = format!(
            "memlens: process {} ran no Python code in 1 s (it waits, or computes in C code); nothing is left in it\n",
            service.child.id()
        );
        assert_eq!(message, expected);
        service.end();
    }
}

#[test]
fn who_cannot_be_asked_is_told_why() {
    let folder = new_folder("heap_process");
    for python in pythons().into_iter().filter(|python| python.minor < 14) {
        let service = Service::start(&python, "waits", &[]);
        let message = refusal(&service.ask(&[]));
        let version = if python.minor < 11 { "older than 3.11".into() } else { format!("3.{}.", python.minor) };
        assert!(message.contains(&format!("runs CPython {version}")), "{}: {message}", python.name());
        assert!(message.ends_with("call memlens.snapshot().save(FILE) in the program\n"), "{message}");
        service.end();
    }
    for python in pythons().into_iter().filter(|python| python.minor == 14 && python.is_free_threaded()) {
        let service = Service::start(&python, "waits", &[]);
        assert!(refusal(&service.ask(&[])).contains("runs a free-threaded CPython"), "{}", python.name());
        service.end();
    }
    for python in askable() {
        let service = Service::start(&python, "waits", &[("PYTHON_DISABLE_REMOTE_DEBUG", "1")]);
        assert!(refusal(&service.ask(&[])).contains("has remote debugging disabled"));
        service.end();
    }
    let own = std::process::id();
    assert_eq!(refusal(&heap(&[&own.to_string()], &folder)), format!("memlens: process {own} is no CPython program\n"));
    // More than the kernel ever gives out.
    assert_eq!(refusal(&heap(&["4194305"], &folder)), "memlens: no process 4194305 is running\n");
}
