//! A program under `memlens run` sees the same `sys.argv`, `sys.path[0]`, `__main__`, folder and streams as without it.
mod recording;

use recording::{Python, Recorder, new_folder, programs, pythons, text};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INPUT: &[u8] = b"one line of input\n";

fn environment_source() -> String {
    std::fs::read_to_string(programs().join("hazards/environment.py"))
        .expect("the program's source")
}

/// What `environment.py` says in a plain run.
fn plain_answer(python: &Python, arguments: &[OsString], folder: &Path) -> serde_json::Value {
    let mut command = Command::new(&python.path);
    command
        .args(arguments)
        .current_dir(folder)
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a plain Python");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), INPUT)
        .expect("to write the input");
    let output = child.wait_with_output().expect("its output");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// Records with these arguments in this folder and compares with a plain run.
fn same_as_plain(arguments: &[OsString], folder: &Path) {
    for python in pythons() {
        let mut recorder = Recorder::new(&python, "launch")
            .working_directory(folder)
            .input(INPUT);
        for argument in arguments {
            recorder = recorder.argument(argument);
        }
        let recording = recorder.succeed();
        let expected = plain_answer(&python, arguments, folder);
        assert_eq!(
            recording.answer(),
            expected,
            "{} {arguments:?}",
            python.name()
        );
        recording.observed();
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn folder_with(name: &str, file: &str) -> PathBuf {
    let folder = new_folder(name);
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, environment_source()).expect("to write the script");
    folder
}

#[test]
fn a_script_with_arguments() {
    let folder = folder_with("script", "environment.py");
    same_as_plain(
        &words(&["environment.py", "--flag", "-o", "x y", "", "ä", "--", "-c"]),
        &folder,
    );
}

#[test]
fn a_script_at_a_path_with_spaces() {
    let folder = folder_with("spaces", "a folder/with 'quotes' $and/a script.py");
    same_as_plain(
        &words(&["a folder/with 'quotes' $and/a script.py", "argument"]),
        &folder,
    );
}

#[test]
fn a_script_by_its_absolute_path() {
    let folder = folder_with("absolute", "environment.py");
    same_as_plain(
        &[folder.join("environment.py").into_os_string()],
        Path::new("/"),
    );
}

#[test]
fn a_module() {
    let folder = folder_with("module", "some_module.py");
    same_as_plain(&words(&["-m", "some_module", "-m", "argument"]), &folder);
}

#[test]
fn a_package() {
    let folder = folder_with("package", "package/inner/__main__.py");
    std::fs::write(folder.join("package/__init__.py"), "").expect("to write");
    std::fs::write(folder.join("package/inner/__init__.py"), "").expect("to write");
    same_as_plain(&words(&["-m", "package.inner", "argument"]), &folder);
}

#[test]
fn code_with_newlines() {
    let code = OsString::from(format!(
        "def f():\n\treturn 1\n\nf()\n{}",
        environment_source()
    ));
    same_as_plain(
        &["-c".into(), code, "argument".into(), "-c".into()],
        &new_folder("code"),
    );
}

#[test]
fn a_folder_with_a_main() {
    let folder = folder_with("directory", "program/__main__.py");
    same_as_plain(&words(&["program", "argument"]), &folder);
}

#[test]
fn a_zip_file_with_a_main() {
    let folder = folder_with("zip", "program/__main__.py");
    let python = &pythons()[0];
    let code = "import zipfile; zipfile.ZipFile('program.zip', 'w').write('program/__main__.py', '__main__.py')";
    let output = python.run(&["-c".as_ref(), code.as_ref()], &folder);
    assert!(output.status.success(), "{}", text(&output.stderr));
    same_as_plain(&words(&["program.zip", "argument"]), &folder);
}

/// `python -` reads the script itself from standard input.
#[test]
fn a_script_on_standard_input() {
    for python in pythons() {
        let recorder =
            Recorder::new(&python, "stdin").input(b"import sys\nprint(sys.argv, 6 * 7)\n");
        let recording = recorder.arguments(&["-", "argument"]).succeed();
        assert_eq!(
            recording.stdout(),
            "['-', 'argument'] 42\n",
            "{}",
            python.name()
        );
    }
}

/// Nothing of memlens can be imported or seen from inside, and no trace or profile function is set.
#[test]
fn the_program_sees_nothing_of_it() {
    for python in pythons() {
        let recording = Recorder::new(&python, "unseen")
            .program("hazards/environment.py")
            .succeed();
        let answer = recording.answer();
        assert_eq!(
            answer["modules"],
            serde_json::json!([]),
            "{}",
            python.name()
        );
        assert_eq!(
            answer["trace"],
            serde_json::json!(["None", "None"]),
            "{}",
            python.name()
        );
    }
}
