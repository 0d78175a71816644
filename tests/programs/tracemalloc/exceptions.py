"""Exceptions that are kept with their tracebacks, try and finally, with, string formatting in handlers."""

import tracemalloc_check


class Problem(Exception):
    pass


class Scope:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        self.log.append("enter-%d" % len(self.log))
        return self

    def __exit__(self, *details):
        self.log.append("exit-%d" % len(self.log))
        return True


def work():
    def fail(number):
        local = "local-%d" % number
        raise Problem(local)

    def guarded(number, log):
        with Scope(log):
            fail(number)

    kept, notes, log = [], [], []
    for number in range(800):
        try:
            raise Problem("problem-%d" % number)
        except Problem as problem:
            kept.append(problem)
            notes.append("%r" % problem)
        finally:
            notes.append("finally-%d" % number)
    for number in range(500):
        guarded(number, log)
    return kept, notes, log


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
