"""Threads that switch amid generators, coroutines, exceptions and callbacks from C; every thread prints what it computed.

For the agent that holds every stack against a full walk: what counts is how often the stack changes, and in how many ways.
"""

import asyncio
import functools
import gc
import sys
import threading
import weakref

THREADS = 4
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60


class Refused(Exception):
    pass


class Finalized:
    """Runs code wherever its last reference goes, and in a cycle wherever the collector runs."""

    def __init__(self, log, in_cycle):
        self.log = log
        self.cycle = self if in_cycle else None

    def __del__(self):
        self.log.append(["finalized"] * 3)


def count(limit):
    try:
        for number in range(limit):
            received = yield [number] * 2
            if received is not None:
                yield {"received": received}
    finally:
        [str(number) for number in range(3)]


def nested(depth):
    yield depth
    if depth:
        yield from nested(depth - 1)


def use_generators(log):
    generator = count(5)
    total = next(generator)[0] + generator.send("x")["received"].count("x")
    abandoned = count(3)
    next(abandoned)
    del abandoned
    try:
        generator.throw(Refused(str(total)))
    except Refused as refused:
        log.append(refused)
    generator.close()
    return total + sum(nested(12)) + len([[row for row in nested(2)] for _ in range(3)])


def refuse(depth):
    kept = [depth]
    if depth == 0:
        raise Refused(kept)
    try:
        refuse(depth - 1)
    finally:
        kept.append(str(depth))


def use_exceptions(log):
    caught = 0
    for depth in (0, 1, 7, 20):
        try:
            refuse(depth)
        except Refused as refused:
            caught += 1
            if depth == 7:
                log.append(refused)
    return caught


@functools.total_ordering
class Compared:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return [self.number] == [other.number]

    def __lt__(self, other):
        return (self.number, "a") < (other.number, "b")

    def __hash__(self):
        return hash("%d" % self.number)

    def __repr__(self):
        return "<%s>" % str(self.number)


def use_callbacks(log):
    things = [Compared(number * 37 % 23) for number in range(23)]
    things.sort(key=lambda thing: [thing.number, str(thing.number)])
    smallest = min(reversed(things))
    found = {thing: str(thing) for thing in things}
    text = functools.reduce(lambda left, right: left + repr(right), things, "")
    mapped = list(map(lambda thing: [found[thing]], filter(lambda thing: thing > smallest, things)))
    references = [weakref.ref(thing, lambda _: log.append(["gone"])) for thing in things]
    del things, found
    return len(text) + len(mapped) + len(references) + eval("sum([number for number in range(9)])")


async def answer(number):
    if number % 3:
        await asyncio.sleep(0)
    return [number] * number


async def gather():
    answers = await asyncio.gather(*[answer(number) for number in range(8)])
    return sum(len(each) for each in answers)


def use_finalizers(log):
    for number in range(6):
        Finalized(log, in_cycle=number % 2 == 0)
    return 1


def recurse(depth):
    return 1 + recurse(depth - 1) if depth else len([str(depth)])


def work(results, number):
    log = []
    total = 0
    for round_number in range(ROUNDS):
        total += use_generators(log) + use_exceptions(log) + use_callbacks(log) + use_finalizers(log)
        total += recurse(round_number * 3)
        if round_number % 10 == 0:
            total += asyncio.run(gather())
            gc.collect()
        del log[:-5]
    results[number] = total


def main():
    sys.setswitchinterval(1e-5)
    gc.set_threshold(50)
    results = [None] * THREADS
    threads = [threading.Thread(target=work, args=(results, number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(results)


main()
