//! The stack at each of 10,000 random allocations equals `sys._getframe` walked from Python (`tests/programs/stacks.py`).
mod recording;

use recording::{pythons, random_stacks};

#[test]
fn ten_thousand_random_stacks() {
    for python in pythons() {
        random_stacks::compare(&python, 10_000);
    }
}
