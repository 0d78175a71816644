"""Threads that come back from native code when the interpreter is going away, which ends them there: `waiting_at_the_end.py LIBRARY`."""
import ctypes
import sys
import threading

library = ctypes.CDLL(sys.argv[1])
library.expect(6)
for _ in range(5):
    threading.Thread(target=library.meet, daemon=True).start()
while library.count_arrived() < 5:
    pass


class Late:
    def __del__(self):
        library.meet()
        for number in range(100_000):
            str(number)


# Modules lose their names last.
sys.late = Late()
print("the end")
sys.exit(5)
