//! `cargo xtask bench`: builds the release binary and hands over to `bench/run.py` in an environment with the rivals.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome};
use crate::venv;
use std::process::Command;

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let named = shell::take_values(&mut arguments, "--python")?.pop();
    let interpreter =
        named.map_or_else(Interpreter::default_one, |name| Interpreter::named(&name))?;
    let python = venv::python_with(
        "bench",
        &interpreter,
        &shell::root().join("bench/requirements.txt"),
    )?;
    shell::build_release()?;
    let mut command = Command::new(python);
    command
        .arg(shell::root().join("bench/run.py"))
        .arg("--memlens")
        .arg(shell::memlens())
        .args(arguments);
    shell::run(&mut command)
}
