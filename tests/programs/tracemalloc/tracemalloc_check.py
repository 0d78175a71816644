"""Compares a program's lines: tracemalloc's own figures for them, as JSON, then an end that runs nothing more.

Where tracemalloc and the allocators disagree by design, the programs keep away:
- CPython keeps released tuples, lists, dicts, floats and (before 3.11) frames in free lists. An object that comes from one
  costs no allocation, yet tracemalloc moves its block to the new line (_PyTraceMalloc_NewReference); no allocator can see
  that. begin() fills the free lists before tracemalloc starts: tracemalloc never knows those blocks, and a program whose
  temporaries of these types stay few reuses only them. A program that keeps more of a type than its free list holds (80
  lists or dicts, 100 floats, 2000 tuples of a length) makes no temporaries of the type after that.
- From 3.14 on integers have a free list as well, of 100. The programs count over NUMBERS, whose integers exist already, where
  counting would make and release integers.
- tracemalloc also counts the raw domain. The programs' lines do not use it (no locks, no threads, no file names).
"""

import _tracemalloc
import gc
import json
import os
import sys

NUMBERS = list(range(4_000))


def begin():
    gc.disable()
    fill_free_lists()
    _tracemalloc.start(1)


def fill_free_lists():
    tuples = [[tuple([None] * length) for _ in range(2100)] for length in range(1, 21)]
    floats = [number + 0.5 for number in range(200)]
    integers = [number + 1_000_000 for number in range(200)]
    lists = [[number] for number in range(200)]
    dicts = [{"a": number} for number in range(200)]
    fill_frames(190)
    tuples.clear()
    floats.clear()
    integers.clear()
    lists.clear()
    dicts.clear()


def fill_frames(depth):
    """A frame with room for every function of the programs: it is never made larger when it is used again."""
    a = b = c = d = e = f = g = h = i = j = k = l = m = n = o = p = q = r = s = t = u = v = w = x = y = z = depth
    return [a, b, c, d, e, f, g, h, i, j, k, l, m, fill_frames(depth - 1)] if depth else depth


def finish():
    """Bytes live by line of the caller's file, for the lines above its `if __name__`."""
    traces = _tracemalloc._get_traces()
    _tracemalloc.stop()
    file = sys._getframe(1).f_code.co_filename
    end = first_line_of_main(file)
    lines = {}
    for trace in traces:
        frame_file, line = trace[2][0]
        if frame_file == file and line < end:
            lines[line] = lines.get(line, 0) + trace[1]
    text = json.dumps({"file": file, "lines": lines}) + "\n"
    os.write(1, text.encode())
    os._exit(0)


def first_line_of_main(file):
    with open(file, encoding="utf-8") as source:
        for number, text in enumerate(source, 1):
            if text.startswith("if __name__"):
                return number
    raise SystemExit(f"{file}: no main block")
