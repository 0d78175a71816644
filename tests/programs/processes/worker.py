"""What each process does, so that its part of the capture can be told: three megabytes in a function of a known name."""
import os

SIZE = 3_000_000


def work(_=None):
    kept = bytes(SIZE)
    return os.getpid(), os.getppid(), len(kept)
