"""Instances with and without __slots__, properties, class creation, weak references, bound methods."""

import weakref
from itertools import islice

import tracemalloc_check
from tracemalloc_check import NUMBERS


def work():
    class Slotted:
        __slots__ = ("x", "y", "__weakref__")

        def __init__(self, x, y):
            self.x = x
            self.y = y * 1000

    class Plain:
        def __init__(self, name):
            self.name = name
            self.items = []

        def method(self):
            return self.name

    class Many(Plain):
        def fill(self):
            for number in range(40):
                setattr(self, "attribute_%d" % number, number)

    slotted = [Slotted(number, number) for number in NUMBERS]
    plain = [Plain("plain") for _ in islice(NUMBERS, 3_000)]
    many = [Many("many") for _ in range(100)]
    for each in many:
        each.fill()
    references = [weakref.ref(each) for each in slotted]
    methods = [each.method for each in plain]
    for each in plain:
        each.items.append(each)
    return slotted, plain, many, references, methods


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
