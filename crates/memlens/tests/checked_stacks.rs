//! The agent built with `check-stacks` holds every stack that it keeps against a full walk of the frames, at each event, and
//! aborts the program at a difference. `cargo xtask test` builds it and names it in MEMLENS_TEST_CHECKING_AGENT.
mod recording;

use recording::{Python, Recorder, programs, pythons, pythons_with_greenlets, text};

fn ends_as_plain(pythons: Vec<Python>, program: &str, argument: &str, prints_alike: bool) {
    let Some(agent) = std::env::var_os("MEMLENS_TEST_CHECKING_AGENT") else {
        eprintln!("skipped: MEMLENS_TEST_CHECKING_AGENT is not set (`cargo xtask test` sets it)");
        return;
    };
    for python in pythons {
        let recorder = Recorder::new(&python, "checked").variable("MEMLENS_AGENT", &agent);
        let recording = recorder.program(program).argument(argument).succeed();
        recording.observed();
        assert_eq!(recording.stderr(), "", "{program} on {}", python.name());
        if prints_alike {
            let script = programs().join(program);
            let plain = python.run(&[script.as_os_str(), argument.as_ref()], &recording.folder);
            assert_eq!(recording.stdout(), text(&plain.stdout), "{program} on {}", python.name());
        }
    }
}

#[test]
fn random_stacks() {
    ends_as_plain(pythons(), "stacks.py", "10000", false);
}

#[test]
fn threads_generators_exceptions_and_callbacks() {
    ends_as_plain(pythons(), "mix.py", "60", true);
}

#[test]
fn generators_of_other_threads_and_released_copies() {
    ends_as_plain(pythons(), "copied_stacks.py", "3000", false);
}

#[test]
fn greenlets() {
    ends_as_plain(pythons_with_greenlets(), "greenlet_stacks.py", "3000", false);
}
