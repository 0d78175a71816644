"""How recording scales with threads: the same number of allocations by 1, 2, 4 and 8 threads at once.

`cargo xtask bench --scaling` calls this. Threads of Python call C code that lets the GIL go; native threads run no Python at all. Both
allocate and release without a pause, in a small library that is compiled here. Writes bench/results/scaling.json (and .md).
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import measure
import run
import tools

PROGRAMS = tools.BENCH.parent / "tests/programs"
THREADS = (1, 2, 4, 8)
ROUNDS = 2_000_000
KINDS = {"Python threads without the GIL": (1, 0), "native threads": (0, 1)}


def compile_library(folder):
    library = folder / "libthreads.so"
    source = PROGRAMS / "native_threads.c"
    subprocess.run(["cc", "-O2", "-fno-builtin", "-shared", "-fPIC", "-pthread", "-o", library, source], check=True)
    return library


def commands(memlens, program, folder):
    return {
        "plain": [tools.PYTHON, *program],
        "memlens": [memlens, "run", "-q", "--force", "-o", folder / "capture.mlens", "--python", tools.PYTHON, *program],
        "memray": [tools.PYTHON, "-m", "memray", "run", "-q", "-f", "-o", folder / "capture.bin", *program],
    }


def measure_kind(kind, threads, arguments, library, folder):
    """Medians of wall and CPU time by tool, in seconds; interleaved rounds."""
    python_threads, native_threads = (flag * threads for flag in KINDS[kind])
    words = [PROGRAMS / "native_threads.py", library, python_threads, native_threads, ROUNDS // threads]
    runs = {}
    for _ in range(arguments.rounds):
        for tool, command in commands(arguments.memlens, [str(word) for word in words], folder).items():
            if tool != "memray" or tools.installed("memray"):
                runs.setdefault(tool, []).append(measure.run([str(word) for word in command], folder))
    fields = ("wall_s", "cpu_s")
    return {tool: {field: statistics.median(getattr(cost, field) for cost in costs) for field in fields} for tool, costs in runs.items()}


def render(report):
    cores = report["machine"]["cores"]
    lines = [
        f"{ROUNDS:,} allocations of 64 to 256 bytes, three of four released at once; wall seconds, and in brackets CPU seconds of the whole process tree.",
        f"{cores} cores: beyond {cores} threads nothing can get faster. Medians of {report['rounds']} rounds, CPython {report['machine']['python']}.",
    ]
    for kind, rows in report["kinds"].items():
        names = list(next(iter(rows.values())))
        lines += ["", f"| {kind} | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
        for threads, row in rows.items():
            cells = [f"{row[name]['wall_s']:.2f} ({row[name]['cpu_s']:.2f})" for name in names]
            lines.append(f"| {threads} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask bench --scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    parser.add_argument("--memlens", default=str(tools.BENCH.parent / "target/release/memlens"), help="the binary to measure")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=run.RESULTS / "scaling.json", help="where the JSON goes")
    arguments = parser.parse_args()
    measure.adopt_orphans()
    report = {"schema": "memlens.scaling/1", "machine": run.machine(), "rounds": arguments.rounds, "kinds": {}}
    with tempfile.TemporaryDirectory(prefix="memlens-scaling-") as name:
        folder = pathlib.Path(name)
        library = compile_library(folder)
        for kind in KINDS:
            rows = {threads: measure_kind(kind, threads, arguments, library, folder) for threads in THREADS}
            report["kinds"][kind] = rows
            print(f"{kind}: done", file=sys.stderr, flush=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    text = render(report)
    arguments.output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
