"""Says in the shared memory that its main thread has ended (at the offset given), and works on."""
import ctypes
import os
import sys


def shared_tables():
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            if "memfd:memlens" in line and int(fields[2], 16) == 0:
                return int(fields[0].split("-")[0], 16)
    raise SystemExit("not recorded")


def afterwards():
    held = []
    for _ in range(30):
        held.append(bytes(100_000))
    return held


FUTEX, FUTEX_WAKE, OWNER_DIED = 202, 1, 0x40000000
address = shared_tables() + int(sys.argv[1])
word = ctypes.c_uint32.from_address(address)
print("held by the main thread:", word.value & 0x3FFFFFFF == os.getpid())
for _ in range(5):
    word.value |= OWNER_DIED
    ctypes.CDLL(None).syscall(FUTEX, ctypes.c_void_p(address), FUTEX_WAKE, 2**31 - 1, None, None, 0)
# A collector that believes it has time to read everything for the last time.
sum(range(3_000_000))
print(len(afterwards()))
