"""Calls the allocation driver: `driver.py LIBRARY 0|1 SEED`."""

import ctypes
import sys

# PyDLL keeps the GIL: the driver's main thread allocates as an extension module does, its other threads as any library.
library = ctypes.PyDLL(sys.argv[1])
library.driver_run(ctypes.c_int(int(sys.argv[2])), ctypes.c_uint64(int(sys.argv[3])))
