//! greenlet and gevent swap the C stack and the chain of frames under the interpreter: the stacks are right all the same.
mod recording;

use recording::{pythons_with_greenlets, random_stacks};

#[test]
fn random_stacks_with_greenlets_and_gevent() {
    for python in pythons_with_greenlets() {
        random_stacks::compare_in(&python, "greenlet_stacks.py", 1_500);
    }
}
