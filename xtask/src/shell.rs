//! Running other programs, and the few arguments that the commands share.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A step that takes as long says so: the whole of them is what a developer waits for.
const WORTH_SAYING: Duration = Duration::from_secs(5);

/// What every step of this crate returns: the error is one line for the person at the terminal.
pub type Outcome<T = ()> = Result<T, String>;

/// The checkout's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The release binary.
pub fn memlens() -> PathBuf {
    target().join("release").join("memlens")
}

/// A `cargo` of the toolchain that runs this.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Says what runs, runs it with our own standard streams, says how long that took, and fails if it fails.
pub fn run(command: &mut Command) -> Outcome {
    eprintln!("\n$ {}", shown(command));
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if start.elapsed() >= WORTH_SAYING {
        eprintln!("  took {:.0} s: {}", start.elapsed().as_secs_f64(), shown(command));
    }
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", shown(command))) }
}

/// [`run`] beside others: what it says is shown at its end, in one piece.
pub fn run_beside(command: &mut Command) -> Outcome {
    let start = Instant::now();
    let output = command.output().map_err(|error| format!("{}: {error}", shown(command)))?;
    let mut text = format!("\n$ {}\n", shown(command)).into_bytes();
    text.extend(output.stdout);
    text.extend(output.stderr);
    text.extend(format!("  took {:.0} s\n", start.elapsed().as_secs_f64()).into_bytes());
    std::io::stderr().write_all(&text).map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(format!("{}: {}", shown(command), output.status)) }
}

/// The release binary and the agent beside it, as the package's build has them too: it would build them again with the features of others.
pub fn build_release() -> Outcome {
    run(&mut cargo(&["build", "--release", "-p", "memlens", "-p", "memlens-agent"]))
}

/// The libraries that the tests have loaded into programs, which `cargo test` does not build: the agent, and the extension module for
/// `memlens heap PID`.
pub fn build_test_libraries() -> Outcome {
    run(&mut cargo(&["build", "-p", "memlens-agent", "-p", "memlens-python"]))
}

/// Takes every `NAME VALUE` out of the arguments and returns the values.
pub fn take_values(arguments: &mut Vec<String>, name: &str) -> Outcome<Vec<String>> {
    let mut values = Vec::new();
    while let Some(at) = arguments.iter().position(|argument| argument == name) {
        if at + 1 >= arguments.len() {
            return Err(format!("{name} needs a value"));
        }
        values.push(arguments.remove(at + 1));
        arguments.remove(at);
    }
    Ok(values)
}

/// Takes a flag out of the arguments; says whether it was there.
pub fn take_flag(arguments: &mut Vec<String>, name: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|argument| argument != name);
    arguments.len() != before
}

/// Refuses what no `take_…` has taken.
pub fn refuse_rest(arguments: &[String]) -> Outcome {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(format!("unexpected argument: {argument}")),
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
