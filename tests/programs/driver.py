"""Calls the allocation driver: `driver.py LIBRARY 0|1 SEED`."""

import gc

# Where there is no GIL a collection reads a file, for which the C library allocates: not at the same moments in two runs.
gc.disable()

import ctypes  # noqa: E402
import sys  # noqa: E402

# PyDLL keeps the GIL: the driver's main thread allocates as an extension module does, its other threads as any library.
library = ctypes.PyDLL(sys.argv[1])
library.driver_run(ctypes.c_int(int(sys.argv[2])), ctypes.c_uint64(int(sys.argv[3])))
