"""Has the kernel refuse it what a sandbox would, first when it makes a known number of blocks, and then code without end, for which tables grow."""

import os

from refuse import refuse

ONE_BYTE = b"x"


def block():
    return ONE_BYTE * 1000


def hold():
    return [block() for _ in range(5000)]


def function(number):
    names = {}
    exec(f"def made_{number}():\n    return [{number}] * 100\n\n\nmade_{number}()", names)
    return names


refuse({name: "EPERM" for name in ("mremap", "madvise", "prctl", "socket", "openat", "ptrace", "process_vm_readv", "memfd_create")})
kept = hold()
made = [function(number) for number in range(11_000)]
print(len(kept), len(made), flush=True)
os._exit(3)
