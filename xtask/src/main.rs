//! The project's own commands: `cargo xtask flights | test | stdlib | matrix | soak | ...`.
//!
//! Each installs what it needs into the checkout (`.venvs/`) and nothing outside of it, so that a fresh machine with Rust, a
//! C compiler and any CPython from 3.8 on needs no set-up by hand. Standard library only: it is the first thing that a fresh
//! checkout builds.

mod bench;
mod flights;
mod free_threaded;
mod interpreter;
mod matrix;
mod package;
mod shell;
mod sid;
mod soak;
mod stdlib;
mod suite;
mod venv;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <COMMAND>

  flights [--python P]                 record examples/flights.py and print its summary
  test    [--python P]... [--no-lints] format, lints, build and every test, on every interpreter found (or those named)
  stdlib  [--python P]... [--only M]   CPython's own test modules, without and with memlens
  matrix  [--python P]...              the tests one interpreter at a time; writes the table in README.md
  soak    [--python P]... [--minutes N]  a long run that loses nothing and does not grow (30 minutes each on 3.12 and 3.13)
  hazards [--python P]... [--runs N]   the ways to die and the limits, several runs in a row (10)
  fuzz    [reader|collector] [--minutes N]  captures and shared tables changed at random (10 minutes each)
  sid                                  makes CPython 3.14 and 3.15 from Debian's unstable distribution (as root), 450 MB
  free-threaded [3.13|3.14|3.15]...    compiles CPythons without the GIL (some minutes each; all three), which the tests then use
  bench   [--python P] [...]           the benchmark; further options go to bench/run.py (--help lists them)
  package [--python P]...              only the tests of the Python package
  wheels                               the Python package as one wheel, checked by auditwheel
  scoreboard [--python P] [...]        sizes and speed beside pympler, guppy3 and objsize; writes docs/scoreboard.md
  bench-heap                           ten million made-up objects through memlens-heap
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match command.as_str() {
        "flights" => flights::run(rest),
        "test" => suite::run(rest),
        "stdlib" => stdlib::run(rest),
        "matrix" => matrix::run(rest),
        "soak" => soak::run(rest),
        "fuzz" => soak::run_fuzz(rest),
        "hazards" => soak::run_hazards(rest),
        "sid" => sid::run_command(rest),
        "free-threaded" => free_threaded::run_command(rest),
        "bench" => bench::run(rest),
        "package" => package::run_tests(rest),
        "wheels" => package::run_wheels(rest),
        "scoreboard" => package::run_scoreboard(rest),
        "bench-heap" => bench::run_heap(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no such command: {other}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
