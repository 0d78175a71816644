//! Virtual environments inside the checkout.
use crate::interpreter::Interpreter;
use crate::shell::{Outcome, root, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of an environment named `name`, of this interpreter, that holds what the requirements file asks for. Made or
/// renewed if need be: a stamp beside it keeps the text of the requirements that were installed.
pub fn python_with(name: &str, interpreter: &Interpreter, requirements: &Path) -> Outcome<PathBuf> {
    let folder = root().join(".venvs").join(format!("{name}-{}", interpreter.version()));
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.installed");
    let wanted =
        std::fs::read_to_string(requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let is_fresh = std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted);
    if !is_fresh || !python.exists() {
        create(interpreter, &folder)?;
        install(interpreter, &folder, requirements)?;
        std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    Ok(python)
}

/// Without pip: Debian's python3 has `venv` but not always `ensurepip`.
fn create(interpreter: &Interpreter, folder: &Path) -> Outcome {
    let mut command = Command::new(&interpreter.path);
    run(command.args(["-m", "venv", "--clear", "--without-pip"]).arg(folder))
}

/// Puts a wheel into an environment, in place of the one that may be there.
pub fn install_wheel(interpreter: &Interpreter, python: &Path, wheel: &Path) -> Outcome {
    let mut command = pip(interpreter, python)?;
    run(command
        .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"])
        .arg(wheel))
}

/// By the interpreter's own pip (`pip --python` is there from 22.3 on), else by the wheel of pip that Debian puts beside an
/// interpreter, else by the one that `ensurepip` unpacks.
fn pip(interpreter: &Interpreter, python: &Path) -> Outcome<Command> {
    if outer_pip_serves(interpreter, python) {
        let mut outer = Command::new(&interpreter.path);
        outer.args(["-m", "pip", "--python"]).arg(python);
        return Ok(outer);
    }
    let mut inner = Command::new(python);
    match pip_wheel(interpreter) {
        Some(wheel) => inner.arg(wheel.join("pip")),
        None => {
            run(Command::new(python).args(["-m", "ensurepip", "--default-pip"]))?;
            inner.args(["-m", "pip"])
        }
    };
    Ok(inner)
}

fn install(interpreter: &Interpreter, folder: &Path, requirements: &Path) -> Outcome {
    let mut command = pip(interpreter, &folder.join("bin/python"))?;
    run(command.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements))
}

/// `share/python-wheels/pip-*.whl`, which Python can run as it is.
fn pip_wheel(interpreter: &Interpreter) -> Option<PathBuf> {
    let folder = interpreter.path.parent()?.parent()?.join("share/python-wheels");
    let is_pip = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pip-"));
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(is_pip)
}

fn outer_pip_serves(interpreter: &Interpreter, python: &Path) -> bool {
    let mut command = Command::new(&interpreter.path);
    let output = command.args(["-m", "pip", "--python"]).arg(python).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}
