"""Allocates by functions that were looked up by their names, and through libraries that were bound in other ways.

`callers.py LIBRARY OUTER`: callers.c, and callers_outer.c with a callers.c of its own.
"""

import ctypes
import os
import shutil
import sys


def allocator(name):
    found = ctypes.CDLL(name)
    found.malloc.argtypes = [ctypes.c_size_t]
    found.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    found.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    found.free.argtypes = [ctypes.c_void_p]
    for function in [found.malloc, found.realloc, found.calloc]:
        function.restype = ctypes.c_void_p
    return found


def bound_first(mode):
    """The library once more, bound to the C library before anything else."""
    path = "%s.%d" % (sys.argv[1], mode)
    shutil.copy(sys.argv[1], path)
    return ctypes.CDLL(path, mode=mode | os.RTLD_DEEPBIND)


process = allocator(None)
c_library = allocator("libc.so.6")
library = ctypes.CDLL(sys.argv[1])
bound_at_once = bound_first(os.RTLD_NOW)
bound_when_called = bound_first(os.RTLD_LAZY)
outer = ctypes.CDLL(sys.argv[2], mode=os.RTLD_NOW | os.RTLD_DEEPBIND)


def run(found):
    blocks = [found.malloc(1000), found.malloc(1000), found.malloc(1000)]
    blocks[1] = found.realloc(blocks[1], 40_000)
    for block in blocks:
        found.free(block)
    found.calloc(2, 3000)


def through_ctypes():
    run(process)


def through_the_c_library():
    run(c_library)


def through_dlsym():
    library.through_dlsym()


def through_a_later_library():
    library.linked()


def through_a_library_bound_first():
    bound_at_once.linked()


def through_a_library_bound_late():
    bound_when_called.linked()


def through_what_it_needs():
    outer.outer()


through_ctypes()
through_the_c_library()
through_dlsym()
through_a_later_library()
through_a_library_bound_first()
through_a_library_bound_late()
through_what_it_needs()
