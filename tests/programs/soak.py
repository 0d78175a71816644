"""Allocates, starts and ends threads, forks and starts programs for as many seconds as it is told, and keeps books of what it did.

Two functions are counted exactly, `block` (an object, under the GIL) and `native` (malloc, without the GIL): how often each was called, for how
many bytes, and what of that is live at the end. All else is there to be in the way. At the end it prints the books of every process as one
line of JSON, with samples of what its memory looked like on the way, and leaves with status 7 and without any clean-up.
"""

import ctypes
import gc
import json
import mmap
import os
import random
import subprocess
import sys
import threading
import time
import warnings

BYTES_HEADER = 33
SLOTS = 400
ONE_BYTE = b"x"

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.restype = None
libc.free.argtypes = [ctypes.c_void_p]


def block(size):
    # Not bytes(size): a call of a type makes a tuple, which now and then is a new one.
    return ONE_BYTE * size


def native(size):
    return libc.malloc(size)


class Books:
    """What one thread made and dropped: count and bytes made, count and bytes live, of each counted function."""

    def __init__(self):
        self.figures = {"block": [0, 0, 0, 0], "native": [0, 0, 0, 0]}

    def made(self, kind, size):
        figures = self.figures[kind]
        for place, change in enumerate((1, size, 1, size)):
            figures[place] += change

    def dropped(self, kind, size):
        figures = self.figures[kind]
        figures[2] -= 1
        figures[3] -= size

    def add(self, other):
        for kind, figures in other.items():
            self.figures[kind] = [mine + theirs for mine, theirs in zip(self.figures[kind], figures)]


def churn(books, slots, randomness, rounds):
    """Replaces blocks in slots, which other threads may have filled."""
    for _ in range(rounds):
        place = randomness.randrange(SLOTS)
        kind = "block" if randomness.random() < 0.7 else "native"
        size = randomness.choice((20, 100, 400, 600, 5_000, 40_000))
        if kind == "block":
            new, counted = block(size), size + BYTES_HEADER
        else:
            new, counted = native(size), size
        books.made(kind, counted)
        # One step under the GIL: no other thread sees a slot that is empty or full twice.
        old_kind, old, old_counted = exchange(slots, place, (kind, new, counted))
        if old_kind:
            if old_kind == "native":
                libc.free(old)
            books.dropped(old_kind, old_counted)


def exchange(slots, place, new):
    with EXCHANGE:
        old, slots[place] = slots[place], new
    return old


EXCHANGE = threading.Lock()


def in_the_way(randomness):
    """A little of everything."""

    def endless():
        while True:
            yield [randomness.random()] * 10

    def down(levels):
        return [levels] if not levels else down(levels - 1) + [levels]

    generators = [endless() for _ in range(20)]
    for generator in generators:
        next(generator)
    down(randomness.randrange(100))
    try:
        raise ValueError([str(number) for number in range(20)])
    except ValueError as error:
        error.__traceback__ = None
    exec(compile("kept = [[number] * 3 for number in range(50)]", "<soak>", "exec"), {})
    table = {str(number): [number] for number in range(200)}
    table["itself"] = table
    grown = bytearray()
    for _ in range(50):
        grown += b"x" * 100
    with mmap.mmap(-1, 1 << 16) as mapping:
        mapping[0] = 1
    sorted(table, key=lambda name: name[::-1])


def worker(books, slots, seed, end):
    randomness = random.Random(seed)
    while time.monotonic() < end:
        churn(books, slots, randomness, 300)
        in_the_way(randomness)
        thread = threading.Thread(target=in_the_way, args=(randomness,))
        thread.start()
        thread.join()


def in_child(seed, pipe):
    """What a forked child does: books of its own, which it sends to its parent."""
    books, slots = Books(), [(None, None, 0)] * SLOTS
    churn(books, slots, random.Random(seed), 2000)
    os.write(pipe, json.dumps(books.figures).encode())
    os._exit(0)


def fork(seed, processes):
    # Nobody must be within the exchange while the process is copied.
    with EXCHANGE:
        reader, writer = os.pipe()
        child = os.fork()
    if child == 0:
        os.close(reader)
        in_child(seed, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    processes.setdefault(child, Books()).add(json.loads(answer))


def sample(start, ended):
    """Memory of this process, of the tables that it shares with memlens, and of memlens; and how many processes have ended."""
    tables = resident = 0
    of_tables = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):
                of_tables = "memfd:memlens" in line
            elif of_tables and words[0] == "Size:":
                tables += int(words[1])
            elif of_tables and words[0] == "Rss:":
                resident += int(words[1])
    with open("/proc/self/status") as lines:
        status = dict(line.split(":", 1) for line in lines)
    with open("/proc/%d/status" % os.getppid()) as lines:
        parent = dict(line.split(":", 1) for line in lines)
    return {
        "seconds": round(time.monotonic() - start, 1),
        "ended_processes": ended,
        "tables_mapped_kib": tables,
        "tables_resident_kib": resident,
        "anonymous_kib": int(status["RssAnon"].split()[0]),
        "address_space_kib": int(status["VmSize"].split()[0]),
        "parent_resident_kib": int(parent["VmRSS"].split()[0]),
    }


def main(seconds):
    warnings.simplefilter("ignore")
    start = time.monotonic()
    end = start + seconds
    slots = [(None, None, 0)] * SLOTS
    all_books = [Books() for _ in range(4)]
    processes, samples = {}, [sample(start, 0)]
    threads = [threading.Thread(target=worker, args=(books, slots, seed, end)) for seed, books in enumerate(all_books)]
    for thread in threads:
        thread.start()
    # The same number of processes however long it runs: their places in the capture are no growth.
    pause, number = max(seconds / 200, 0.05), 0
    while time.monotonic() < end:
        number += 1
        fork(number, processes)
        if number % 10 == 0:
            subprocess.run(["/bin/true"], check=True)
            subprocess.run([sys.executable, "-S", "-c", "[str(number) for number in range(1000)]"], check=True)
            gc.collect()
            samples.append(sample(start, number + number // 10 * 2))
        time.sleep(pause)
    for thread in threads:
        thread.join()
    samples.append(sample(start, number + number // 10 * 2))
    own = processes.setdefault(os.getpid(), Books())
    for books in all_books:
        own.add(books.figures)
    figures = {str(process): books.figures for process, books in processes.items()}
    os.write(1, json.dumps({"processes": figures, "samples": samples}).encode() + b"\n")
    os._exit(7)


main(float(sys.argv[1]))
