"""Stops its parent, memlens, works on while nobody listens, and lets it go on."""

import os
import signal
import threading

from known_blocks import function, hold

collector = os.getppid()
print("ready", flush=True)
os.kill(collector, signal.SIGSTOP)
while open(f"/proc/{collector}/stat").read().rsplit(")", 1)[1].split()[0] != "T":
    pass
kept = [hold() for _ in range(20)]
threads = [threading.Thread(target=lambda: kept.append(hold())) for _ in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
made = [function(number) for number in range(5_000)]
del kept[::2]
os.kill(collector, signal.SIGCONT)
print(len(kept), len(made), flush=True)
os._exit(3)
