"""Many short threads, some daemons still running at the end."""
import threading
import time


def in_thread(number):
    return [bytes(10_000 + number) for _ in range(100)]


def linger():
    while True:
        [object() for _ in range(100)]
        time.sleep(0.001)


for _ in range(3):
    threading.Thread(target=linger, daemon=True).start()
for wave in range(20):
    threads = [threading.Thread(target=in_thread, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("joined")
