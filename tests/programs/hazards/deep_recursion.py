"""A recursion 20,000 deep, with a block at its end."""

import sys
import threading

sys.setrecursionlimit(10**6)
threading.stack_size(512 << 20)
kept = []


def down(levels):
    if levels:
        return down(levels - 1)
    kept.append(bytes(5_000_000))
    return levels


thread = threading.Thread(target=down, args=(20_000,))
thread.start()
thread.join()
print(len(kept[0]))
