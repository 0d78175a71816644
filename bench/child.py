"""Runs one command and writes its cost as a line to a descriptor: `child.py FD COMMAND...`. Used by measure.py.

A process's largest resident set begins with that of the process that forked it (Linux, exec_mmap), so the one that forks
must be smaller than whatever is measured: this one imports almost nothing and runs under `-I -S`.
"""

import os
import sys
import time

start = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall_s = time.perf_counter() - start
cpu_s = usage.ru_utime + usage.ru_stime
os.write(int(sys.argv[1]), f"{os.waitstatus_to_exitcode(status)} {cpu_s} {wall_s} {usage.ru_maxrss * 1024}".encode())
