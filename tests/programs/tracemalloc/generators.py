"""Generators that are suspended, comprehensions in each other, closures, coroutines that never end."""

import tracemalloc_check


def work():
    def count(start):
        number = start * 1000
        while True:
            number += 1
            yield number

    async def never(value):
        text = "value %d" % value
        return text

    def make_adder(amount):
        def add(number):
            return number + amount

        return add

    running = [count(number) for number in range(1_000)]
    values = [next(generator) for generator in running]
    nested = [["%d-%d" % (row, column) for column in range(30)] for row in range(60)]
    mapping = {row: {column: "x%d" % column for column in range(12)} for row in range(80)}
    unique = {"item-%d" % (number % 700) for number in range(2_000)}
    adders = [make_adder(number) for number in range(1_500)]
    coroutines = [never(number) for number in range(500)]
    lazy = ("lazy-%d" % number for number in range(1_000))
    drawn = list(lazy)
    return running, values, nested, mapping, unique, adders, coroutines, drawn


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
