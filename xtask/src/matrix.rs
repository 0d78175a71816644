//! `cargo xtask matrix`: the tests that run interpreters, one interpreter at a time, and the table of what passed, which the README shows.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome};
use crate::suite;
use std::path::Path;
use std::process::Command;

/// The columns: what a person reads, and the test binaries behind it.
const COLUMNS: [(&str, &[&str]); 4] = [
    ("stacks", &["stacks", "checked_stacks"]),
    ("figures", &["allocators", "tracemalloc", "peak"]),
    ("hazards", &["hazards", "out_of_memory"]),
    ("launch, venv", &["launch", "builds"]),
];
/// The columns that are tested on every build of a version.
const DEPEND_ON_BUILD: [&str; 2] = ["stacks", "launch, venv"];
const BEGIN: &str = "<!-- matrix: written by `cargo xtask matrix` -->\n";
const END: &str = "<!-- end of the matrix -->\n";

pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    shell::refuse_rest(&arguments)?;
    let machine = suite::Machine::find(&names)?;
    shell::build_test_libraries()?;
    let checking_agent = suite::build_checking_agent()?;
    let greenlets = suite::with_greenlets(&machine.interpreters);
    let mut rows = Vec::new();
    for interpreter in machine.interpreters.iter().chain(&machine.builds) {
        let is_same = |with: &&Interpreter| with.minor == interpreter.minor && !interpreter.is_free_threaded;
        let environment = greenlets.iter().find(is_same);
        let is_first = machine.interpreters.contains(interpreter);
        rows.push(row(interpreter, is_first, environment.filter(|_| is_first), &checking_agent)?);
    }
    let table = table(&rows);
    println!("{table}");
    if names.is_empty() {
        write_into_readme(&table)?;
    }
    if rows.iter().flatten().any(|cell| cell == "fails") { Err("not everything passes".into()) } else { Ok(()) }
}

fn row(
    interpreter: &Interpreter,
    is_first: bool,
    greenlets: Option<&Interpreter>,
    agent: &Path,
) -> Outcome<Vec<String>> {
    let mut cells = vec![interpreter.version(), build(interpreter)];
    for (name, tests) in COLUMNS {
        // What depends on the version is tested on one build of it.
        let is_tested = is_first || DEPEND_ON_BUILD.contains(&name);
        cells.push(if is_tested { passes(tests, "MEMLENS_TEST_PYTHONS", interpreter, agent)? } else { "" }.into());
    }
    let with_greenlets = |environment| passes(&["greenlets"], "MEMLENS_TEST_GREENLETS", environment, agent);
    cells.push(greenlets.map(with_greenlets).transpose()?.unwrap_or("").into());
    eprintln!("{}", cells.join(" | "));
    Ok(cells)
}

fn passes(tests: &[&str], variable: &str, interpreter: &Interpreter, agent: &Path) -> Outcome<&'static str> {
    let mut command = shell::cargo(&["test", "-p", "memlens", "--no-fail-fast"]);
    command.args(tests.iter().flat_map(|name| ["--test", name]));
    command.env(variable, &interpreter.path).env("MEMLENS_TEST_CHECKING_AGENT", agent);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(if output.status.success() { "passes" } else { "fails" })
}

/// Whose build it is, and whether the interpreter is in the executable or in a library of its own.
fn build(interpreter: &Interpreter) -> String {
    let code = "print('libpython' in open('/proc/self/maps').read())";
    let output = Command::new(&interpreter.path).args(["-c", code]).output();
    let is_shared = output.is_ok_and(|output| output.stdout.starts_with(b"True"));
    let path = interpreter.path.to_string_lossy();
    let from = match () {
        () if path.contains("/.pyenv/") => "pyenv",
        () if path.contains("/debian-sid/") || path.starts_with("/usr/bin/") => "Debian",
        () if path.contains("/.venvs/free-threaded") => "compiled",
        () => "other",
    };
    format!("{from}, {}", if is_shared { "shared libpython" } else { "static" })
}

fn table(rows: &[Vec<String>]) -> String {
    let heads = ["CPython", "build"].into_iter().chain(COLUMNS.map(|(name, _)| name)).chain(["greenlet, gevent"]);
    let heads: Vec<String> = heads.map(str::to_owned).collect();
    let width = |column: usize| rows.iter().chain([&heads]).map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [heads, rule].iter().chain(rows).map(|row| line(row)).collect()
}

fn write_into_readme(table: &str) -> Outcome {
    let path = shell::root().join("README.md");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let (before, rest) = text.split_once(BEGIN).ok_or("README.md has no place for the matrix")?;
    let (_, after) = rest.split_once(END).ok_or("the place for the matrix in README.md has no end")?;
    std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = ["3.12.1", "pyenv, static", "passes", "passes", "fails", "passes", ""].map(str::to_owned).to_vec();
        let table = table(&[row]);
        let lengths: Vec<usize> = table.lines().map(str::len).collect();
        assert_eq!(lengths.len(), 3);
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{table}");
    }
}
