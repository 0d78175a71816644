"""Ctrl-C, uncaught: the interpreter prints the traceback and ends by the signal."""

import os
import signal


def kept_to_the_end():
    return [bytes(1000) for _ in range(5000)]


kept = kept_to_the_end()
signal.signal(signal.SIGINT, signal.default_int_handler)
os.kill(os.getpid(), signal.SIGINT)
