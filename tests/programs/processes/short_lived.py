"""Children that end as soon as they may. Prints how many of them the collector, which is our parent, keeps open in the end."""

import os
import time

CHILDREN = 400
PATIENCE_S = 20  # For the collector to notice the last ones, on a laden machine.


def work():
    return [object() for _ in range(100)]


def tables_of(pid):
    folder = "/proc/%d/fd" % pid
    count = 0
    for name in os.listdir(folder):
        try:
            count += "memfd:memlens" in os.readlink(os.path.join(folder, name))
        except FileNotFoundError:  # Closed while we looked.
            pass
    return count


for _ in range(CHILDREN):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    os.waitpid(child, 0)

deadline = time.monotonic() + PATIENCE_S
while tables_of(os.getppid()) > 1 and time.monotonic() < deadline:
    time.sleep(0.01)
print(tables_of(os.getppid()) - 1)
