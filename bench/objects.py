"""Sizes and speed of memlens beside pympler, guppy3 and objsize: `cargo xtask scoreboard`.

The truth is what tracemalloc and Arrow's pool count while an object is built, or arithmetic (tests/python/truth_cases.py). Each tool
gets an object of its own, newly built, for some tools change what they measure. Writes docs/scoreboard.md.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import platform
import statistics
import sys
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


def forked_and_dirtied():
    """Milliseconds of standing still at 1 GB, and the share of pages that the child's walk dirtied."""
    import resource

    page = resource.getpagesize()
    objects = [bytes(1000) for _ in range(900_000)]
    before = _faults()
    snapshot = memlens.snapshot(fork=True)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
    return {"resident": resident, "pause_ms": 1000 * snapshot.pause_s, "objects": len(snapshot), "parent_faults": _faults() - before, "held": len(objects)}


def _faults():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


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


def document(rows, left, seconds, forked, walked):
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
    if seconds:
        yield "| a list of 1,000,000 dicts, seconds | " + " | ".join(f"{seconds[name]:.2f}" for name in TOOLS) + " |"
    yield ""
    if forked:
        yield f"`snapshot(fork=True)` with {forked['resident'] / 1e9:.2f} GB resident and {forked['objects']:,} objects: the program stood still for"
        yield f"{forked['pause_ms']:.1f} ms."
    if walked:
        yield f"`snapshot()` of {walked['objects']:,} objects: {walked['snapshot_s']:.2f} s, its dominators and the largest object {walked['top_s']:.2f} s."
    yield ""
    yield "What is not fair to the others: pympler and objsize leave functions out by default. What memlens cannot tell: an int that came out of a"
    yield "sum may have a digit more allotted than it uses; the interpreter keeps no note of it."
    yield ""
    yield from table(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-speed", action="store_true", help="sizes only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=10_000_000)
    parser.add_argument("-o", type=Path, default=ROOT / "docs" / "scoreboard.md")
    arguments = parser.parse_args()
    rows = scoreboard()
    left = {name: left_behind(tool) for name, tool in TOOLS.items()}
    seconds = forked = walked = None
    if not arguments.no_speed:
        forked = forked_and_dirtied()
        walked = snapshot_speed(arguments.objects)
        seconds = sizing_speed(arguments.rounds)
    arguments.o.parent.mkdir(exist_ok=True)
    arguments.o.write_text("\n".join(document(rows, left, seconds, forked, walked)) + "\n")
    print("\n".join(list(document(rows, left, seconds, forked, walked))[:16]))
    wrong = [row["name"] for row in rows if not row["memlens right"]]
    print("memlens is off on:", wrong or "none", file=sys.stderr)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
