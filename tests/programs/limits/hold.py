"""Makes a known number of blocks and ends with a status of its own."""

import os
import resource



ONE_BYTE = b"x"


def block():
    return ONE_BYTE * 1000


def hold():
    return [block() for _ in range(5000)]


kept = hold()
print(len(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_DATA)[0], flush=True)
# Without any clean-up: what is live now stays.
os._exit(3)
