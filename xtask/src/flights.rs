//! `cargo xtask flights`: records the flights example and prints its summary.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome};
use crate::venv;
use std::path::PathBuf;
use std::process::Command;

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let named = shell::take_values(&mut arguments, "--python")?.pop();
    shell::refuse_rest(&arguments)?;
    let interpreter =
        named.map_or_else(Interpreter::default_one, |name| Interpreter::named(&name))?;
    let python = python(&interpreter)?;
    shell::build_release()?;
    let capture = shell::target().join("flights.mlens");
    let mut command = Command::new(shell::memlens());
    command
        .arg("run")
        .arg("--python")
        .arg(python)
        .arg("--force")
        .arg("-o")
        .arg(capture);
    shell::run(
        command
            .arg("examples/flights.py")
            .current_dir(shell::root()),
    )
}

/// The Python that has pandas and the flights.
pub fn python(interpreter: &Interpreter) -> Outcome<PathBuf> {
    venv::python_with(
        "flights",
        interpreter,
        &shell::root().join("examples/requirements.txt"),
    )
}
