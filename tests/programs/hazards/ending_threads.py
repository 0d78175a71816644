"""Detached threads that end together, again and again: more stacks than the C library keeps, so that threads that end release those of others."""

import _thread
import threading

ROUNDS, THREADS = 500, 10
ONE_BYTE = b"x"


def block():
    # Not bytes(50_000): a call of a type makes a tuple as well.
    return ONE_BYTE * 50_000


def work(together, ended):
    kept = block()
    together.wait()
    del kept
    ended.release()


for _ in range(ROUNDS):
    together, ended = threading.Barrier(THREADS), threading.Semaphore(0)
    for _ in range(THREADS):
        _thread.start_new_thread(work, (together, ended))
    for _ in range(THREADS):
        ended.acquire()
