"""A tree built by recursion, a cache, memoised results: a line is reached at many depths."""

import functools

import tracemalloc_check


class Node:
    __slots__ = ("label", "left", "right")


def build(depth, label):
    node = Node()
    node.label = "node-%s" % label
    node.left = build(depth - 1, label + "l") if depth else None
    node.right = build(depth - 1, label + "r") if depth else None
    return node


def work():
    @functools.lru_cache(maxsize=None)
    def cached(key):
        return "cached-%d" % key

    tree = build(11, "")
    words = [cached(number) for number in range(2_000)]
    again = [cached(number) for number in range(2_000)]
    return tree, words, again, cached


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
