"""Its parent, memlens, dies; the program allocates on and ends as it would have."""

import os
import sys

kept = [bytes(1000) for _ in range(1000)]
print(os.getppid(), flush=True)
sys.stdin.read()
more = [[number] * 3 for number in range(100_000)]
print(len(kept), len(more), sum(map(sum, more)), flush=True)
sys.exit(7)
