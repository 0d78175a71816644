//! `cargo xtask bench`: builds the release binary and hands over to `bench/run.py` in an environment with the rivals.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome};
use crate::venv;
use std::process::Command;

/// `cargo xtask bench-heap`: ten million made-up objects, built, saved, loaded and asked about.
pub fn run_heap(arguments: &[String]) -> Outcome {
    shell::refuse_rest(arguments)?;
    shell::run(&mut shell::cargo(&["build", "--release", "-p", "memlens-heap", "--example", "ten_million"]))?;
    let program = shell::target().join("release/examples/ten_million");
    for shape in ["linked", "tree"] {
        let file = shell::target().join("ten_million.mlheap");
        shell::run(Command::new(&program).args(["build", shape]).arg(&file))?;
        shell::run(Command::new(&program).arg("analyse").arg(&file))?;
    }
    Ok(())
}

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let script = if shell::take_flag(&mut arguments, "--scaling") { "bench/scaling.py" } else { "bench/run.py" };
    let named = shell::take_values(&mut arguments, "--python")?.pop();
    let interpreter = named.map_or_else(Interpreter::default_one, |name| Interpreter::named(&name))?;
    let python = venv::python_with("bench", &interpreter, &shell::root().join("bench/requirements.txt"))?;
    shell::build_release()?;
    let mut command = Command::new(python);
    command.arg(shell::root().join(script)).arg("--memlens").arg(shell::memlens()).args(arguments);
    shell::run(&mut command)
}
