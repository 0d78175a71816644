//! `cargo xtask soak`, `hazards` and `fuzz`: the tests that show something only when they run for long, or again and again.
use crate::interpreter::Interpreter;
use crate::shell::{self, Outcome};
use crate::suite::Machine;

/// The versions that the soak runs on unless told otherwise.
const SOAK_MINORS: [u32; 2] = [12, 13];
const SOAK_MINUTES: &str = "30";
/// The test binaries with the ways to die, the limits and all other hazards.
const HAZARDS: [&str; 5] = ["hazards", "limits", "out_of_memory", "bad_input", "launch"];
/// The fuzzers, and how Cargo's test command runs them.
const FUZZERS: [(&str, &[&str]); 2] =
    [("reader", &["-p", "memlens", "--test", "fuzz"]), ("collector", &["-p", "memlens-collector", "fuzz"])];
const FUZZ_MINUTES: &str = "10";
const RUNS: &str = "10";

/// A threaded, forking, allocating mix on one interpreter after the other.
pub fn run(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    let minutes: f64 = last_number(&mut arguments, "--minutes", SOAK_MINUTES)?;
    shell::refuse_rest(&arguments)?;
    let interpreters = Machine::find(&names)?.interpreters;
    let is_wanted = |found: &&Interpreter| !names.is_empty() || SOAK_MINORS.contains(&found.minor);
    shell::build_release()?;
    for interpreter in interpreters.iter().filter(is_wanted) {
        let mut test =
            shell::cargo(&["test", "--release", "-p", "memlens", "--test", "soak", "--", "--nocapture", "--exact"]);
        test.arg("no_event_is_lost_and_nothing_grows").env("MEMLENS_SOAK_SECONDS", (minutes * 60.0).to_string());
        shell::run(test.env("MEMLENS_TEST_PYTHONS", &interpreter.path))?;
    }
    Ok(())
}

/// The hazards on every interpreter, several runs in a row. A run that fails ends it: there is no second try.
pub fn run_hazards(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let names = shell::take_values(&mut arguments, "--python")?;
    let runs: u32 = last_number(&mut arguments, "--runs", RUNS)?;
    shell::refuse_rest(&arguments)?;
    let interpreters = Machine::find(&names)?.interpreters;
    let versions: Vec<String> = interpreters.iter().map(Interpreter::version).collect();
    shell::build_test_libraries()?;
    for run in 1..=runs {
        let mut tests = shell::cargo(&["test", "-p", "memlens"]);
        tests.args(HAZARDS.iter().flat_map(|name| ["--test", name]));
        shell::run(tests.env("MEMLENS_TEST_PYTHONS", crate::suite::paths(&interpreters)))?;
        eprintln!("hazards: run {run} of {runs} is green on {}", versions.join(", "));
    }
    Ok(())
}

/// The fuzzers of what reads others' bytes: captures, and the tables that a recorded program shares.
pub fn run_fuzz(arguments: &[String]) -> Outcome {
    let mut arguments = arguments.to_vec();
    let minutes: f64 = last_number(&mut arguments, "--minutes", FUZZ_MINUTES)?;
    let is_wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|wanted| wanted == name);
    if let Some(unknown) = arguments.iter().find(|name| !FUZZERS.iter().any(|(known, _)| known == name)) {
        return Err(format!("no such fuzzer: {unknown}"));
    }
    // Another sequence each time; the test says with which number a case can be had again.
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 | 1);
    for (_, words) in FUZZERS.iter().filter(|(name, _)| is_wanted(name)) {
        let mut test = shell::cargo(&["test", "--release"]);
        test.args(*words)
            .args(["--", "--nocapture"])
            .env("MEMLENS_FUZZ_SECONDS", ((minutes * 60.0) as u64).to_string());
        shell::run(test.env("MEMLENS_FUZZ_SEED", seed.to_string()))?;
    }
    Ok(())
}

fn last_number<T: std::str::FromStr>(arguments: &mut Vec<String>, name: &str, default: &str) -> Outcome<T> {
    let text = shell::take_values(arguments, name)?.pop().unwrap_or_else(|| default.into());
    text.parse().map_err(|_| format!("{name}: not a number: {text}"))
}
