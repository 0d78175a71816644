"""As stacks.py, with code that several threads run, where each thread has a copy of the instructions (CPython 3.14 and newer without the GIL):
generators that are begun in one thread and finished in another, and copies that are released while their code lives on.
"""

import random
import sys
import threading

import stacks
from stacks import drop, here, size, state, step

SHARE = 6
clear_caches = getattr(sys, "_clear_internal_caches", lambda: None)
# A generator that is begun by a thread that ends runs that thread's copy: CPython itself does not survive that this is released meanwhile.
lock = threading.RLock()
handed_over = 0


def in_thread(work):
    """Has a thread of its own do the work, with a share of the allocations."""

    def run():
        state.random = random.Random(seed)
        state.left = SHARE
        state.is_main = False
        state.in_loop = False
        work()

    seed = state.random.random()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def by_handed_over(depth):
    global handed_over

    def generate(inner):
        drop(bytes(size()), here())
        yield
        drop(bytes(size()), here())
        yield from inner
        drop(bytes(size()), here())

    def deeper():
        drop(bytes(size()), here())
        yield step(depth)
        drop(bytes(size()), here())
        yield
        drop(bytes(size()), here())

    def begin():
        next(generator)
        drop(bytes(size()), here())

    def finish():
        for _ in generator:
            drop(bytes(size()), here())

    generator = generate(deeper())
    with lock:
        handed_over += 1
    in_thread(begin)
    drop(bytes(size()), here())
    next(generator)
    in_thread(finish)
    drop(bytes(size()), here())
    with lock:
        handed_over -= 1


# All have the same instructions, as long as these, on other lines.
FUNCTIONS = []
for line in range(12):
    scope = dict(vars(stacks))
    source = "def made_up(step, depth):\n" + "\n" * line + "    drop(bytes(size()), here())\n    return step(depth)\n"
    exec(compile(source, "<made up %d>" % line, "exec"), scope)
    FUNCTIONS.append(scope["made_up"])


def by_released_copies(depth):
    def use():
        for function in state.random.sample(FUNCTIONS, 3):
            function(nothing, 0)
            # Too short a code for its copy to be told from other blocks.
            call(lambda: drop(bytes(size()), here()))

    def nothing(_depth):
        drop(bytes(size()), here())

    def call(function):
        return function()

    for _ in range(3):
        in_thread(use)
        with lock:
            if handed_over == 0:
                clear_caches()
    state.random.choice(FUNCTIONS)(step, depth)


stacks.WAYS += [value for name, value in sorted(globals().items()) if name.startswith("by_")]

if __name__ == "__main__":
    stacks.main()
