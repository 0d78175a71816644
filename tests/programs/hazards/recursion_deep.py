"""Recursion 20,000 deep, in a thread with the stack for it, with an allocation at each level and one at the bottom."""
import sys
import threading

DEPTH = 20_000


def at_the_bottom():
    return bytes(4_000_000)


def down(level, kept):
    kept.append(str(level) * 3)
    return down(level - 1, kept) if level else at_the_bottom()


def main():
    kept = []
    print(len(down(DEPTH, kept)), len(kept))


sys.setrecursionlimit(50_000)
threading.stack_size(512 << 20)
thread = threading.Thread(target=main)
thread.start()
thread.join()
