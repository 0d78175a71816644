"""Has the kernel refuse it what a sandbox would, first when it makes a known number of blocks, and then code without end, for which tables grow."""

import os

from known_blocks import function, hold
from refuse import refuse

refuse({name: "EPERM" for name in ("mremap", "madvise", "prctl", "socket", "openat", "ptrace", "process_vm_readv", "memfd_create")})
kept = hold()
made = [function(number) for number in range(11_000)]
print(len(kept), len(made), flush=True)
os._exit(3)
