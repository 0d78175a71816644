"""Has a library map regions, in this process and in a forked child: `regions.py LIBRARY`."""

import ctypes
import mmap
import os
import sys

MIB = 1 << 20

library = ctypes.CDLL(sys.argv[1])
library.region_map.restype = ctypes.c_void_p
library.region_map.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
library.region_unmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

# What Python code maps is a block, and no region of the module's.
block = mmap.mmap(-1, 3 * MIB)
first = library.region_map(8 * MIB, MIB)
second = library.region_map(4 * MIB, MIB // 2)
library.region_unmap(first, 8 * MIB)
third = library.region_map(2 * MIB, MIB // 4)
child = os.fork()
if child == 0:
    library.region_map(MIB, 100 << 10)
    sys.exit()
os.waitpid(child, 0)
