"""Lists that grow, dicts that are resized, strings, bytes and sets."""

import tracemalloc_check


def work():
    numbers = [number * 1000 for number in range(20_000)]
    squares = {number: number * number + 10**6 for number in range(5_000)}
    names = ["name-%d" % number for number in range(3_000)]
    index = {}
    for name in names:
        index[name] = name.upper()
    grown = []
    for number in range(10_000):
        grown.append(number)
    joined = ",".join(names)
    unique = set(names)
    frozen = frozenset(numbers)
    buffer = bytearray()
    for name in names:
        buffer += name.encode()
    blocks = [bytes(size) for size in range(0, 9_000, 7)]
    wide = ["häß" * 50, "\u4e2d\u6587" * 300, "\U0001f40d" * 1000]
    del numbers[5_000:]
    grown.clear()
    squares.clear()
    return numbers, squares, names, index, grown, joined, unique, frozen, buffer, blocks, wide


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
