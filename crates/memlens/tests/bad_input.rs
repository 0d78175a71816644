//! Bad input of `run` with the real agent: one line, status 2, nothing run, written or overwritten. And what becomes of a
//! program whose collector is killed.
mod recording;

use recording::{MEMLENS, any_python, compile_interpreter, is_installed, new_folder, programs, pythons, text};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with a script that says when it has run.
fn folder_with_script() -> PathBuf {
    let folder = new_folder("bad_input");
    std::fs::write(folder.join("script.py"), "open('ran', 'w')\nkept = bytes(1000)\n").expect("to write the script");
    folder
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn refused_line(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("memlens: "), "{message}");
    assert_eq!(text(&output.stdout), "");
    message.trim_end().trim_start_matches("memlens: ").to_owned()
}

/// The line with which an interpreter is refused; nothing has run and no file was made.
fn refusal_of(interpreter: &Path) -> String {
    let folder = folder_with_script();
    let mut command = Command::new(MEMLENS);
    command.arg("run").arg("--python").arg(interpreter).arg("script.py").current_dir(&folder);
    let line = refused_line(&command.output().expect("memlens"));
    assert_eq!(names_in(&folder), ["script.py"], "{line}");
    line
}

#[test]
fn programs_that_are_no_python() {
    for program in ["/bin/true", "/bin/sh"] {
        let real = Path::new(program).canonicalize().expect("its path");
        assert_eq!(refusal_of(Path::new(program)), format!("{} is not a Python interpreter", real.display()));
    }
}

/// "2.7.18" of an interpreter that memlens does not record.
fn unsupported_version(path: &Path) -> Option<String> {
    let code = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])";
    let output = Command::new(path).args(["-c", code]).output().ok()?;
    let version = text(&output.stdout);
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    (major, minor).lt(&(3, 8)).then_some(version)
}

#[test]
fn unsupported_versions_are_named() {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let installed = std::fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten();
    let candidates: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin/python")).collect();
    let old: Vec<(PathBuf, String)> =
        candidates.into_iter().filter_map(|path| unsupported_version(&path).map(|version| (path, version))).collect();
    if old.is_empty() {
        eprintln!("skipped: pyenv has no Python before 3.8");
    }
    for (path, version) in old {
        let line = refusal_of(&path);
        let expected = format!(" is CPython {version}, which memlens cannot record (3.8 to 3.15 it can)");
        assert!(line.ends_with(&expected), "{line}");
    }
}

const UNKNOWN_BUILD: &str = "in a build that memlens cannot record (3.13 to 3.15 as released it can)";

#[test]
fn a_free_threaded_build_of_unknown_structures_is_named() {
    let interpreter = compile_interpreter("unknown_free_threaded.c");
    let expected = format!("{} is a free-threaded CPython 3.14.9 {UNKNOWN_BUILD}", interpreter.display());
    assert_eq!(refusal_of(&interpreter), expected);
}

/// A real interpreter that says of one structure that it is another: any word after the first three that memlens compares.
#[test]
fn a_free_threaded_build_that_differs_in_one_offset_is_named() {
    let free_threaded: Vec<_> = pythons().into_iter().filter(|python| python.is_free_threaded()).collect();
    if free_threaded.is_empty() {
        eprintln!("skipped: no free-threaded interpreter is listed");
    }
    for python in free_threaded {
        let mut bytes = std::fs::read(&python.path).expect("the interpreter");
        // `_Py_DebugOffsets`: the cookie, the version, and 1 for free-threaded. (The cookie alone stands in instructions too.)
        let is_structure = |words: &[u8]| words.starts_with(b"xdebugpy") && words[16..] == 1u64.to_le_bytes();
        let Some(offsets) = bytes.windows(24).position(is_structure) else {
            eprintln!("skipped: {} has a shared libpython", python.name());
            continue;
        };
        // `interpreter_frame.instr_ptr`, in which 3.13 and newer have 56.
        let word = match python.minor {
            13 => 31,
            14 => 34,
            _ => 42,
        };
        let at = offsets + 8 * word;
        assert_eq!(bytes[at], 56, "{}", python.name());
        bytes[at] = 64;
        let changed = new_folder("interpreter").join("python");
        std::fs::copy(&python.path, &changed).expect("to copy the interpreter");
        std::fs::write(&changed, bytes).expect("to write the interpreter");
        let line = refusal_of(&changed);
        assert!(
            line.starts_with(&format!("{} is a free-threaded CPython 3.{}.", changed.display(), python.minor)),
            "{line}"
        );
        assert!(line.ends_with(UNKNOWN_BUILD), "{line}");
    }
}

/// A tmpfs, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this user may not mount.
    fn new(options: &str) -> Option<Self> {
        let folder = new_folder("mount");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder).stderr(Stdio::null());
        let is_mounted = is_installed("mount") && command.status().is_ok_and(|status| status.success());
        if !is_mounted {
            eprintln!("skipped: cannot mount a tmpfs here");
        }
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the machine.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Runs the script with the capture in the mount.
fn run_into(mount: &Mount, script_folder: &Path) -> Output {
    let mut command = Command::new(MEMLENS);
    command.arg("run").arg("--python").arg(any_python().path).arg("-o").arg(mount.0.join("a.mlens"));
    command.arg("script.py").current_dir(script_folder).output().expect("memlens")
}

#[test]
fn a_full_disk_is_found_out_before_the_program_runs() {
    let Some(mount) = Mount::new("size=64k") else { return };
    std::fs::write(mount.0.join("fill"), vec![1; 48 << 10]).expect("room");
    let folder = folder_with_script();
    let line = refused_line(&run_into(&mount, &folder));
    assert_eq!(line, format!("cannot write {}: No space left on device", mount.0.join("a.mlens").display()));
    assert_eq!((names_in(&folder), names_in(&mount.0)), (vec!["script.py".into()], vec!["fill".into()]));
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_no_half_capture() {
    let Some(mount) = Mount::new("size=128k") else { return };
    let folder = folder_with_script();
    let fill = format!("open({:?}, 'wb').write(bytes(126 << 10))\n", mount.0.join("fill"));
    std::fs::write(folder.join("script.py"), fill).expect("to write the script");
    let line = refused_line(&run_into(&mount, &folder));
    assert!(line.starts_with(&mount.0.join("a.mlens").display().to_string()), "{line}");
    assert!(line.ends_with("No space left on device"), "{line}");
    assert_eq!(names_in(&mount.0), ["fill"]);
}

#[test]
fn a_read_only_folder_is_found_out_before_the_program_runs() {
    let Some(mount) = Mount::new("ro") else { return };
    let folder = folder_with_script();
    let line = refused_line(&run_into(&mount, &folder));
    assert_eq!(line, format!("cannot write {}: Read-only file system", mount.0.join("a.mlens").display()));
    assert_eq!(names_in(&folder), ["script.py"]);
}

/// The bug: memlens was killed by SIGXFSZ, and an empty file stayed.
#[test]
fn a_limit_on_file_sizes_below_any_capture_is_one_line() {
    let folder = folder_with_script();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 1; exec \"$0\" run -o a.mlens --python \"$1\" script.py", MEMLENS]);
    let output = command.arg(any_python().path).current_dir(&folder).output().expect("sh");
    assert_eq!(refused_line(&output), "cannot write a.mlens: File too large");
    assert_eq!(names_in(&folder), ["script.py"]);
}

#[test]
fn kill_9_of_the_collector_leaves_the_program_unharmed_and_is_said_once() {
    for python in pythons() {
        let folder = new_folder("collector_dies");
        let mut command = Command::new(MEMLENS);
        command.arg("run").arg("--python").arg(&python.path).arg(programs().join("hazards/collector_dies.py"));
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut memlens = command.spawn().expect("memlens");
        let mut output = BufReader::new(memlens.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), memlens.id().to_string(), "{}", python.name());
        let input = memlens.stdin.take();
        memlens.kill().expect("to kill memlens");
        assert_eq!(memlens.wait().expect("its end").signal(), Some(9));
        drop(input);
        let (mut rest, mut errors) = (String::new(), String::new());
        output.read_to_string(&mut rest).expect("the program's output");
        memlens.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("its standard error");
        assert_eq!(rest, "1000 100000 14999850000\n", "{}", python.name());
        let expected = "memlens: the collector died; this program ran on unharmed, but its recording is lost\n";
        assert_eq!(errors, expected, "{}", python.name());
    }
}
