"""Lists made on one line, released, and made again on another out of CPython's free list: no allocation at all."""

import tracemalloc_check


def work():
    first = [[] for _ in range(200)]
    first.clear()
    second = [[] for _ in range(50)]
    return first, second


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
