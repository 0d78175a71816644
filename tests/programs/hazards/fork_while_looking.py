"""Forks while another thread, inside `mmap`, looks at the library that called it; the child uses a library that nobody has looked at.

`fork_while_looking.py FIRST SECOND`: two copies of regions.c. The file of the first is replaced by a pipe, so that whoever opens it waits.
"""

import ctypes
import os
import sys
import threading

MIB = 1 << 20
OPENAT = "257"  # its number on x86-64


def load(path):
    library = ctypes.CDLL(path)
    library.region_map.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    return library


first = load(sys.argv[1])
os.unlink(sys.argv[1])
os.mkfifo(sys.argv[1])
thread = threading.Thread(target=first.region_map, args=(2 * MIB, 0))
thread.start()
while True:
    with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
        if file.read().split()[0] == OPENAT:
            break
child = os.fork()
if child == 0:
    load(sys.argv[2]).region_map(MIB, 0)
    sys.exit()
os.waitpid(child, 0)
os.close(os.open(sys.argv[1], os.O_WRONLY))
thread.join()
