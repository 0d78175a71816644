"""Native threads that work while Python waits for them: `waiting.py LIBRARY ROUNDS`. The number of threads tells the calls apart."""
import ctypes
import os
import sys
import threading

library = ctypes.CDLL(sys.argv[1])
holding_the_gil = ctypes.PyDLL(sys.argv[1])
rounds = ctypes.c_long(int(sys.argv[2]))


def one_waits():
    library.native_threads(2, rounds)


def another_waits():
    for _ in range(3):
        library.native_threads(2, rounds)


def two_wait():
    library.native_threads_together(3, rounds)


def nobody_waits():
    holding_the_gil.native_threads(4, rounds)


def child_waits():
    library.native_threads(2, rounds)


one_waits()
another_waits()
library.expect(2)
both = [threading.Thread(target=two_wait) for _ in range(2)]
for thread in both:
    thread.start()
for thread in both:
    thread.join()
nobody_waits()
one_waits()
# Copied while it waits: the child must not believe that it still does.
child = ctypes.CDLL(None).fork()
if child == 0:
    child_waits()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
one_waits()
