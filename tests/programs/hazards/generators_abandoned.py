"""Generators that are dropped half-way, at the end of the program, and from other threads than started them."""
import threading


def endless(start):
    local = [start] * 10
    try:
        while True:
            yield str(start) + str(len(local))
            start += 1
    finally:
        released.append(bytes(100))


released = []
generators = [endless(number) for number in range(1000)]
for generator in generators:
    next(generator)
thread = threading.Thread(target=lambda: [next(generator) for generator in generators])
thread.start()
thread.join()
del generators[:500]
print(len(released))
