"""Makes a known number of blocks and ends with a status of its own; prints how many, and the limits of these names if any are given."""

import os
import resource
import sys

ONE_BYTE = b"x"


def block():
    return ONE_BYTE * 1000


def hold():
    return [block() for _ in range(5000)]


kept = hold()
print(len(kept), *(resource.getrlimit(getattr(resource, name))[0] for name in sys.argv[1:]), flush=True)
# Without any clean-up: what is live now stays.
os._exit(3)
