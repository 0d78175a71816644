"""Threads that allocate at full speed (all at once where there is no GIL), release what others have allocated, and run code that is gone a moment
later, at addresses where other code was. Prints nothing but is exact in every count; killed, so that what lives at the end is known too."""
import itertools
import os
import signal
import threading

THREADS = 6
BLOCKS = 3000
TURNS = 60
NAMES = 5
UNIT = b"x"
SOURCE = "def {0}():\n    return unit * {1}\nkept.append({0}())\n{0}()\n"

blocks = [None] * THREADS
barrier = threading.Barrier(THREADS)


def block():
    return UNIT * 1000


def in_thread(number):
    blocks[number] = [block() for _ in itertools.repeat(None, BLOCKS)]
    barrier.wait()
    other = (number + 1) % THREADS
    if other % 2:
        blocks[other] = None
    for turn in range(TURNS):
        scope = {"kept": [], "unit": UNIT}
        name = "made_%d_%d" % (number, turn % NAMES)
        exec(SOURCE.format(name, 2000 + 100 * number), scope)
        scope.clear()


threads = [threading.Thread(target=in_thread, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.kill(os.getpid(), signal.SIGKILL)
