"""Allocates while the interpreter shuts down."""
import atexit


def at_exit():
    kept.append(bytes(6_000_000))
    print("at exit")


class Last:
    def __del__(self):
        [str(number) for number in range(1000)]


kept = []
last = Last()
atexit.register(at_exit)
