"""Compares a program's lines: tracemalloc's own figures for them, as JSON, then an end that runs nothing more.

Where tracemalloc and the allocators disagree by design, the programs keep away:
- An object that comes from a free list costs the allocator nothing, but tracemalloc moves it to the new line. begin() takes
  what lies in the free lists, and the programs do not release floats, tuples, lists or dicts on one line to make them on
  another.
- tracemalloc also counts the raw domain. The programs' lines do not use it (no locks, no threads, no file names).
- Before 3.11 each function keeps its last frame object; the programs call each function from one line only.
"""

import _tracemalloc
import gc
import json
import os
import sys

taken = []


def begin():
    gc.disable()
    for length in range(1, 21):
        taken.append([tuple([taken] * length) for _ in range(2100)])
    taken.append([number + 0.5 for number in range(200)])
    taken.append([[number] for number in range(200)])
    taken.append([{"a": number} for number in range(200)])
    taken.append([slice(number) for number in range(10)])
    _tracemalloc.start(1)


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
