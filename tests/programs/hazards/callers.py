"""Allocates by functions that were looked up by their names: `callers.py LIBRARY`, which is callers.c."""

import ctypes
import sys

process = ctypes.CDLL(None)
library = ctypes.CDLL(sys.argv[1])
process.malloc.argtypes = [ctypes.c_size_t]
process.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
process.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
process.free.argtypes = [ctypes.c_void_p]
for function in [process.malloc, process.realloc, process.calloc]:
    function.restype = ctypes.c_void_p


def through_ctypes():
    blocks = [process.malloc(1000), process.malloc(1000), process.malloc(1000)]
    blocks[1] = process.realloc(blocks[1], 40_000)
    for block in blocks:
        process.free(block)
    process.calloc(2, 3000)


def through_dlsym():
    library.through_dlsym()


def through_a_later_library():
    library.linked()


through_ctypes()
through_dlsym()
through_a_later_library()
