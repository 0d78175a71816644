"""Sizes and speed of memlens beside pympler, guppy3 and objsize: `cargo xtask scoreboard`.

The truth is what tracemalloc and Arrow's pool count while an object is built, or arithmetic (tests/python/truth_cases.py). Each tool
gets an object of its own, newly built, for some tools change what they measure. Writes docs/scoreboard.md.
"""

from __future__ import annotations

import argparse
import array
import functools
import gc
import os
import platform
import statistics
import sys
import threading
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

import memlens  # noqa: E402
import truth_cases  # noqa: E402


def pympler_size(obj):
    from pympler import asizeof

    return asizeof.asizeof(obj)


def guppy_size(obj):
    return _guppy().iso(obj).domisize


@functools.lru_cache(maxsize=None)
def _guppy():
    from guppy import hpy

    return hpy()


def objsize_size(obj):
    import objsize

    return objsize.get_deep_size(obj)


TOOLS = {"memlens": memlens.sizeof, "pympler": pympler_size, "guppy3": guppy_size, "objsize": objsize_size}
#: A size within this share of the truth counts as right.
TOLERANCE = 0.02


def answer(tool, obj):
    try:
        return tool(obj)
    except Exception as error:  # a tool that fails has no answer, whatever it raised
        return type(error).__name__


def score(name, build, exact=None):
    row = {"name": name}
    start = time.perf_counter()
    for title, tool in TOOLS.items():
        if exact is None:
            obj, truth = truth_cases.measured(build)
        else:
            obj, truth = build(), exact
        row.setdefault("truth", truth)
        size = answer(tool, obj)
        row[title] = size
        row[title + " right"] = isinstance(size, int) and abs(size - truth) <= TOLERANCE * truth
        del obj
        gc.collect()
    print(f"{time.perf_counter() - start:6.1f} s  {name}", file=sys.stderr, flush=True)
    return row


def scoreboard():
    rows = [score(name, build) for name, build in truth_cases.traced_cases().items()]
    rows += [score(name, build, exact) for name, (build, exact) in truth_cases.exact_cases().items()]
    return rows


class Instance:
    def __init__(self, i):
        self.a = i
        self.b = i + 1


def left_behind(tool):
    """Bytes that stay allocated after sizing 100 000 instances of a class (without those of the tool's own first use)."""
    answer(tool, [Instance(i) for i in range(10)])
    objects = [Instance(i + 1000) for i in range(100_000)]
    gc.collect()
    tracemalloc.start()
    answer(tool, [])
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    answer(tool, objects)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def timed(act, *arguments):
    start = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - start


def sizing_speed(rounds):
    """Seconds to size a list of a million dicts. memlens comes first: the others leave dicts and counts behind."""
    objects = [{"a": i, "b": str(i)} for i in range(1_000_000)]
    return {name: statistics.median(timed(answer, tool, objects) for _ in range(rounds if name == "memlens" else 1)) for name, tool in TOOLS.items()}


def forked_and_dirtied(rounds):
    """Medians at 1 GB: milliseconds of standing still, those of a bare ``os.fork``, and the share of pages that had to be copied for the walk."""
    objects = [bytes(1000) for _ in range(900_000)]
    pauses, forks, shares = [], [], []
    for _ in range(rounds):
        pauses.append(1000 * memlens.snapshot(fork=True).pause_s)
        forks.append(1000 * timed_fork())
        with CopiedPages() as copied:
            snapshot = memlens.snapshot(fork=True)
        shares.append(copied.share)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    known = [share for share in shares if share is not None]
    return {
        "resident": resident,
        "objects": len(snapshot),
        "pause_ms": statistics.median(pauses),
        "fork_ms": statistics.median(forks),
        "copied": statistics.median(known) if known else None,
        "held": len(objects),
    }


def timed_fork():
    start = time.perf_counter()
    child = os.fork()
    if not child:
        os._exit(0)
    seconds = time.perf_counter() - start
    os.waitpid(child, 0)
    return seconds


class CopiedPages(threading.Thread):
    """Watches a forked child of the main thread: which of the pages that both have are no longer the same ones.

    ``share`` is the last figure before the child ended; None if the kernel hides the numbers of page frames (it tells root alone).
    """

    FRAME = (1 << 55) - 1

    def __enter__(self):
        self.share = None
        self.is_over = False
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.join()

    def run(self):
        ranges = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if " rw-p " in line]
        ranges = [tuple(int(end, 16) // 4096 for end in part.split("-")) for part in ranges]
        child = self.child()
        try:
            with open("/proc/self/pagemap", "rb", 0) as own, open(f"/proc/{child}/pagemap", "rb", 0) as its:
                while not self.is_over:
                    self.compare(own, its, ranges)
        except OSError:
            pass  # The child has ended.

    def child(self):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        while not self.is_over:
            found = children.read_text().split()
            if found:
                return found[0]
        return None

    def compare(self, own, its, ranges):
        both = copied = seen = 0
        for first, end in ranges:
            pairs = zip(self.entries(own, first, end), self.entries(its, first, end))
            frames = [(a & self.FRAME, b & self.FRAME) for a, b in pairs if a >> 63 and b >> 63]
            both += len(frames)
            seen += sum(a != 0 for a, _ in frames)
            copied += sum(a != b for a, b in frames)
        # An ending child has fewer and fewer.
        if seen and both * 4096 > 800e6:
            self.share = copied / both

    @staticmethod
    def entries(pagemap, first, end):
        pagemap.seek(8 * first)
        values = array.array("Q")
        values.frombytes(pagemap.read(8 * (end - first)))
        return values


def snapshot_speed(count):
    objects = [[i] for i in range(count // 2)]
    gc.collect()
    snapshot = memlens.snapshot()
    seconds = snapshot.pause_s
    dominators = timed(snapshot.top, 1)
    return {"objects": len(snapshot), "snapshot_s": seconds, "top_s": dominators, "held": len(objects)}


def shown(size, is_right):
    text = f"{size:,}" if isinstance(size, int) else size
    return text if is_right else f"**{text}**"


def table(rows):
    yield "| object | truth | " + " | ".join(TOOLS) + " |"
    yield "|---|" + "---:|" * (len(TOOLS) + 1)
    for row in rows:
        cells = [shown(row[name], row[name + " right"]) for name in TOOLS]
        yield f"| {row['name']} | {row['truth']:,} | " + " | ".join(cells) + " |"


def document(rows, left, speed):
    right = {name: sum(row[name + " right"] for row in rows) for name in TOOLS}
    yield "# Scoreboard: sizes of objects, against the truth"
    yield ""
    yield f"Made by `cargo xtask scoreboard` on CPython {platform.python_version()}: {len(rows)} objects. The truth is what tracemalloc and"
    yield "Arrow's pool counted while the object was built, or arithmetic. Bytes; **bold** is more than 2 % off."
    yield ""
    yield "| | " + " | ".join(TOOLS) + " |"
    yield "|---|" + "---:|" * len(TOOLS)
    yield "| within 2 % of the truth | " + " | ".join(f"{right[name]} of {len(rows)}" for name in TOOLS) + " |"
    yield "| left behind by sizing 100,000 instances, bytes | " + " | ".join(f"{left[name]:,}" for name in TOOLS) + " |"
    yield ""
    yield "What is not fair to the others: pympler and objsize leave functions out by default. What memlens cannot tell: an int that came out of a"
    yield "sum may have a digit more allotted than it uses; the interpreter keeps no note of it."
    yield ""
    yield SPEED
    yield ""
    yield from speed
    yield OBJECTS
    yield ""
    yield from table(rows)


#: The parts of the document, which can be made one without the other.
SPEED, OBJECTS = "## Speed", "## Objects"


def speed_section(rounds, count):
    """Each figure is a median of the rounds; the other tools have one round, for they change what they measure."""
    forked = forked_and_dirtied(rounds)
    walked = snapshot_speed(count)
    seconds = sizing_speed(rounds)
    yield f"CPython {platform.python_version()}, {os.cpu_count()} cores."
    yield ""
    yield "| | " + " | ".join(TOOLS) + " |"
    yield "|---|" + "---:|" * len(TOOLS)
    yield "| a list of 1,000,000 dicts, seconds | " + " | ".join(f"{seconds[name]:.2f}" for name in TOOLS) + " |"
    yield "| times as long as memlens | " + " | ".join(f"{seconds[name] / seconds['memlens']:.1f}" for name in TOOLS) + " |"
    yield ""
    yield f"`snapshot(fork=True)` with {forked['resident'] / 1e9:.2f} GB resident and {forked['objects']:,} objects: the program stood still for"
    yield f"{forked['pause_ms']:.1f} ms (a bare `os.fork()` takes {forked['fork_ms']:.1f} ms)."
    if forked["copied"] is not None:
        yield f"{100 * forked['copied']:.2f} % of the pages had to be copied while the child walked."
    yield f"`snapshot()` of {walked['objects']:,} objects: {walked['snapshot_s']:.2f} s, its dominators and the largest object {walked['top_s']:.2f} s."
    yield ""


def kept_speed(path):
    """The speeds of an earlier run."""
    lines = path.read_text().splitlines() if path.exists() else []
    return lines[lines.index(SPEED) + 2 : lines.index(OBJECTS)] if SPEED in lines else []


def with_speed(path, speed):
    """The document of an earlier run with other speeds."""
    lines = path.read_text().splitlines()
    return [*lines[: lines.index(SPEED) + 2], *speed, *lines[lines.index(OBJECTS) :]]


def main():
    parser = argparse.ArgumentParser()
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--no-speed", action="store_true", help="sizes only; the speeds stay")
    only.add_argument("--only-speed", action="store_true", help="speeds only; the sizes stay")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=10_000_000)
    parser.add_argument("-o", type=Path, default=ROOT / "docs" / "scoreboard.md")
    arguments = parser.parse_args()
    speed = kept_speed(arguments.o) if arguments.no_speed else list(speed_section(arguments.rounds, arguments.objects))
    if arguments.only_speed:
        lines = with_speed(arguments.o, speed)
    else:
        rows = scoreboard()
        lines = list(document(rows, {name: left_behind(tool) for name, tool in TOOLS.items()}, speed))
        print("memlens is off on:", [row["name"] for row in rows if not row["memlens right"]] or "none", file=sys.stderr)
    arguments.o.parent.mkdir(exist_ok=True)
    arguments.o.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[: lines.index(OBJECTS)]))
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
