"""Makes 10,000 large allocations in random places and says, for each, the stack that Python itself sees there.

Each is `bytes(...)` on the same line as here(), which walks sys._getframe. Its size is a random multiple of 64 KiB: what
else a line allocates comes to less than that per stack, so that whole multiples of 64 KiB tell the large blocks from the
rest. The blocks are larger than malloc's largest mmap threshold and never written to: they cost address space only. Smaller ones do where
there is no GIL, and the allocator is one that writes zeros.

Prints {"unit": 65536, "stacks": [[[[function, file, line], ...innermost first], units], ...]}.
"""

import asyncio
import functools
import json
import random
import re
import sys
import sysconfig
import threading
import weakref

UNIT = 65536
HEADER = sys.getsizeof(b"")
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
THREADS = 3
SIZES = (1, 8) if sysconfig.get_config_var("Py_GIL_DISABLED") else (600, 4000)

seen = {}
seen_lock = threading.RLock()  # here() may run inside itself, from a finalizer
state = threading.local()


def size():
    """Of a bytes object whose block is a whole number of units."""
    state.units = state.random.randrange(*SIZES)
    state.left -= 1
    return state.units * UNIT - HEADER


def here():
    """Notes the caller's stack for the block that was just made."""
    stack = []
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        stack.append((getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno or 0))
        frame = frame.f_back
    key = tuple(stack)
    with seen_lock:
        seen[key] = seen.get(key, 0) + state.units


def drop(_block, _nothing=None):
    """Releases the block, and makes some small objects of its own on the way."""
    return len([[number] for number in range(state.random.randrange(4))])


def step(depth):
    """One allocation here, then deeper in one of many ways."""
    if depth <= 0 or state.left <= 0:
        drop(bytes(size()), here())
        return depth
    drop(bytes(size()), here())
    state.random.choice(WAYS)(depth - 1)
    drop(bytes(size()), here())
    return depth


def by_recursion(depth):
    def down(levels):
        if levels:
            return down(levels - 1)
        drop(bytes(size()), here())
        return step(depth)

    down(state.random.randrange(30))


def by_generator(depth):
    def generate():
        yield drop(bytes(size()), here())
        step(depth)
        received = yield drop(bytes(size()), here())
        drop(bytes(size()), here())
        yield received

    generator = generate()
    next(generator)
    drop(bytes(size()), here())
    next(generator)
    generator.send(1)


def by_delegation(depth):
    def inner():
        try:
            yield drop(bytes(size()), here())
            yield step(depth)
        finally:
            drop(bytes(size()), here())

    def outer():
        result = yield from inner()
        drop(bytes(size()), here())
        return result

    generator = outer()
    next(generator)
    next(generator)
    if state.random.random() < 0.5:
        generator.close()
    else:
        list(generator)


def by_throw(depth):
    def catch():
        while True:
            try:
                yield drop(bytes(size()), here())
            except KeyError:
                drop(bytes(size()), here())
                step(depth)
                return

    generator = catch()
    next(generator)
    try:
        generator.throw(KeyError("thrown"))
    except StopIteration:
        drop(bytes(size()), here())


def run_coroutine(coroutine):
    """Drives a coroutine without an event loop."""
    try:
        while True:
            coroutine.send(None)
            drop(bytes(size()), here())
    except StopIteration:
        pass


class Pause:
    def __await__(self):
        drop(bytes(size()), here())
        yield None
        drop(bytes(size()), here())


def by_coroutine(depth):
    async def leaf():
        await Pause()
        step(depth)
        drop(bytes(size()), here())

    async def middle():
        await leaf()
        drop(bytes(size()), here())

    run_coroutine(middle())


def by_async_for(depth):
    async def produce():
        for _ in range(2):
            await Pause()
            yield drop(bytes(size()), here())
        step(depth)

    async def consume():
        async for _ in produce():
            drop(bytes(size()), here())
        return [drop(bytes(size()), here()) async for _ in produce_few()]

    async def produce_few():
        yield drop(bytes(size()), here())

    run_coroutine(consume())


def by_async_with(depth):
    class Scope:
        async def __aenter__(self):
            drop(bytes(size()), here())

        async def __aexit__(self, *details):
            await Pause()
            drop(bytes(size()), here())

    async def use():
        async with Scope():
            step(depth)

    run_coroutine(use())


def by_comprehension(depth):
    [drop(bytes(size()), here()) for _ in range(2)]
    {drop(bytes(size()), here()): step(depth) for _ in range(1)}
    {drop(bytes(size()), here()) for _ in range(2)}
    [[drop(bytes(size()), here()) for _ in range(1)] for _ in range(2)]
    sum(drop(bytes(size()), here()) for _ in range(2))


def by_sorted(depth):
    def key(number):
        drop(bytes(size()), here())
        return -number

    sorted([3, 1, 2], key=key)
    sorted([1], key=lambda number: (drop(bytes(size()), here()), step(depth)))
    max([1, 2], key=lambda number: drop(bytes(size()), here()))


def by_map(depth):
    list(map(lambda number: drop(bytes(size()), here()), range(2)))
    list(map(step, [depth]))
    list(filter(lambda number: drop(bytes(size()), here()), range(2)))
    functools.reduce(lambda left, right: drop(bytes(size()), here()), [1, 2, 3])
    next(iter(lambda: drop(bytes(size()), here()), None))


def by_regex(depth):
    def replace(match):
        drop(bytes(size()), here())
        step(depth)
        return match.group()

    re.sub("b", replace, "abc")


# Not written out in the line that evaluates it: compiling makes blocks of its own there.
EVALUATED = "drop(bytes(size()), here())"


def by_exec(depth):
    source = "drop(bytes(size()), here())\n\ndef inner():\n    drop(bytes(size()), here())\n    step(depth)\n\ninner()\n"
    scope = dict(globals(), depth=depth)
    exec(compile(source, "<made up %d>" % state.random.randrange(3), "exec"), scope)
    eval(EVALUATED)


def by_del(depth):
    class Falling:
        def __del__(self):
            drop(bytes(size()), here())
            step(depth)

    falling = Falling()
    drop(bytes(size()), here())
    del falling
    weak = Falling.__new__(Plain)
    reference = weakref.ref(weak, lambda _: drop(bytes(size()), here()))
    del weak
    drop(bytes(size()), reference and here())


class Plain:
    pass


def by_exception(depth):
    def fail(levels):
        if levels:
            fail(levels - 1)
        drop(bytes(size()), here())
        raise ValueError("deep")

    try:
        fail(state.random.randrange(6))
    except ValueError:
        drop(bytes(size()), here())
        step(depth)
    finally:
        drop(bytes(size()), here())


def by_context(depth):
    class Scope:
        def __enter__(self):
            drop(bytes(size()), here())

        def __exit__(self, *details):
            drop(bytes(size()), here())
            return True

    with Scope():
        step(depth)
        raise KeyError("swallowed")


def by_class(depth):
    class Meta(type):
        def __new__(mcs, name, bases, scope):
            drop(bytes(size()), here())
            return super().__new__(mcs, name, bases, scope)

    class Made(metaclass=Meta):
        drop(bytes(size()), here())
        step(depth)

        def __init_subclass__(cls):
            drop(bytes(size()), here())

    type("Sub", (Made,), {})


def by_attribute(depth):
    class Thing:
        def __getattr__(self, name):
            drop(bytes(size()), here())
            return step(depth)

        @property
        def computed(self):
            drop(bytes(size()), here())
            return 1

        def __hash__(self):
            drop(bytes(size()), here())
            return 1

        def __eq__(self, other):
            drop(bytes(size()), here())
            return False

        def __lt__(self, other):
            drop(bytes(size()), here())
            return False

        def __call__(self, *arguments, **keywords):
            drop(bytes(size()), here())

        def __len__(self):
            drop(bytes(size()), here())
            return 1

    thing = Thing()
    thing.missing
    thing.computed
    {thing: 1, Thing(): 2}
    thing < thing
    thing(1, *[2], **{"three": 3})
    len(thing)
    sorted([thing, Thing()])
    functools.partial(thing, 1)()


def by_many_arguments(depth):
    def many(a, b=2, *rest, c, d=4, **others):
        drop(bytes(size()), here())

        def closure():
            drop(bytes(size()), here())
            return a, b, c

        return closure()

    many(1, 2, 3, 4, c=5, e=6)
    many(*range(5), **{"c": 1, "z": step(depth)})


def by_lines(depth):
    drop(
        bytes(size()), here()
    )
    value = (
        drop(bytes(size()), here()) +
        step(depth) +
        drop(bytes(size()), here())
    )
    if value: drop(bytes(size()), here()); drop(bytes(size()), here())
    for _ in range(2): drop(bytes(size()), here())
    while True:
        drop(bytes(size()), here())
        break


def by_event_loop(depth):
    async def task(number):
        await asyncio.sleep(0)
        drop(bytes(size()), here())
        if number == 0:
            step(depth)

    async def main():
        await asyncio.gather(*(task(number) for number in range(3)))

    if state.is_main and not state.in_loop:
        state.in_loop = True
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        state.in_loop = False


WAYS = [value for name, value in sorted(globals().items()) if name.startswith("by_")]


def work(seed, count, is_main):
    state.random = random.Random(seed)
    state.left = count
    state.is_main = is_main
    state.in_loop = False
    while state.left > 0:
        step(state.random.randrange(8))


def main():
    share = COUNT // (THREADS + 1) + 1
    threads = [threading.Thread(target=work, args=(seed, share, False)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    work(THREADS, share, True)
    for thread in threads:
        thread.join()
    expected = dict(seen)
    stacks = [[list(stack), units] for stack, units in expected.items()]
    json.dump({"unit": UNIT, "stacks": stacks}, sys.stdout)


if __name__ == "__main__":
    main()
