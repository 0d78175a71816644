//! The stack at each of 10,000 random allocations equals `sys._getframe` walked from Python (`tests/programs/stacks.py`).
mod recording;

use recording::{pythons, random_stacks};

#[test]
fn ten_thousand_random_stacks() {
    for python in pythons() {
        random_stacks::compare(&python, 10_000);
    }
}

/// Where threads have copies of the instructions, which come and go (`tests/programs/copied_stacks.py`).
#[test]
fn generators_of_other_threads_and_released_copies() {
    for python in pythons() {
        random_stacks::compare_in(&python, "copied_stacks.py", 3_000);
    }
}
