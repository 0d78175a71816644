"""Generators that are suspended, comprehensions in each other, closures, coroutines that never end."""

import tracemalloc_check
from itertools import islice

from tracemalloc_check import NUMBERS


def work():
    def count(start):
        text = "from %d" % start
        while True:
            yield text * 2

    async def never(value):
        text = "value %d" % value
        return text

    def make_adder(amount):
        def add(number):
            return number + amount

        return add

    running = [count(number) for number in islice(NUMBERS, 1_000)]
    values = [next(generator) for generator in running]
    nested = [["%d-%d" % (row, column) for column in range(30)] for row in range(60)]
    mapping = {row: {column: "x%d" % column for column in range(12)} for row in range(80)}
    unique = {"item-%d" % number for _ in range(3) for number in islice(NUMBERS, 700)}
    adders = [make_adder(number) for number in islice(NUMBERS, 1_500)]
    coroutines = [never(number) for number in islice(NUMBERS, 500)]
    lazy = ("lazy-%d" % number for number in islice(NUMBERS, 1_000))
    drawn = list(lazy)
    return running, values, nested, mapping, unique, adders, coroutines, drawn


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
