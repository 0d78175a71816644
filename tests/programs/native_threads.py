"""Threads of Python and of their own, all at once: `native_threads.py LIBRARY PYTHON_THREADS NATIVE_THREADS ROUNDS`."""
import ctypes
import sys
import threading

library = ctypes.CDLL(sys.argv[1])
python_threads, native_threads, rounds = (int(word) for word in sys.argv[2:])


def in_python_thread():
    library.allocate(ctypes.c_long(rounds))


threads = [threading.Thread(target=in_python_thread) for _ in range(python_threads)]
for thread in threads:
    thread.start()
library.native_threads(native_threads, ctypes.c_long(rounds))
for thread in threads:
    thread.join()
