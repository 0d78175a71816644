"""Makes and drops blocks without end, and says after each turn how many it has made."""

import os

ONE_BYTE = b"x"


def block():
    return ONE_BYTE * 1000


def code(number):
    exec(f"def made():\n    return [{number}]\nmade()", {})


print(os.getpid(), flush=True)
kept, count = {}, 0
while True:
    for number in range(50):
        kept[number % 40] = block()
        count += 1
    code(count)
    print(count, flush=True)
