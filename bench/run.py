"""The benchmark: eleven programs under memlens and its rivals, in interleaved rounds, all in the same run.

`cargo xtask bench` makes the environment and calls this. It prints tables and writes bench/results/latest.json (and .md).
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import sys
import tempfile

import measure
import table
import tools

RESULTS = tools.BENCH / "results"
QUICK_PROGRAMS = ["flights", "churn", "fib", "json_round_trip"]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="cargo xtask bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each program and tool (default: 5)")
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds of the slow tools at the most (default: 3)")
    parser.add_argument("--only", action="append", metavar="PROGRAM", choices=tools.PROGRAMS, help="this program; may be repeated")
    parser.add_argument("--tools", help="comma-separated, e.g. plain,memlens,memray")
    parser.add_argument("--quick", action="store_true", help="2 rounds of four programs, without the slowest tools")
    parser.add_argument("--startup-rounds", type=int, default=30, help="rounds of `python -c pass` (default: 30)")
    parser.add_argument("--memlens", default=str(tools.BENCH.parent / "target/release/memlens"), help="the binary to measure")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=RESULTS / "latest.json", help="where the JSON goes")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = min(arguments.rounds, 2)
        arguments.only = arguments.only or QUICK_PROGRAMS
        arguments.tools = arguments.tools or "plain,memlens,memray,memray python"
    return arguments


def chosen_tools(arguments):
    found, missing = tools.available(arguments.memlens)
    for line in missing:
        print(line, file=sys.stderr)
    for tool in found:
        if tool.is_slow:
            tool.most_rounds = min(tool.most_rounds, arguments.slow_rounds)
    if arguments.tools is None:
        return found
    wanted = [name.strip() for name in arguments.tools.split(",")]
    unknown = set(wanted) - {tool.name for tool in found}
    for name in sorted(unknown):
        print(f"no such tool here: {name}", file=sys.stderr)
    return [tool for tool in found if tool.name in wanted]


def run_once(tool, program, work):
    """One run in a fresh folder; the capture is added to the cost and its path returned."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    cost = measure.run([str(word) for word in tool.command(program, folder)], folder)
    captures = [path for pattern in tool.captures for path in folder.glob(pattern)]
    cost.capture_bytes = sum(path.stat().st_size for path in captures)
    return cost, captures


def keep_largest(captures, work):
    """Keeps the largest capture of memlens for the measurement of `summary`; the folder of each run is removed."""
    kept = work / "largest.mlens"
    for path in captures:
        if path.suffix == ".mlens" and (not kept.exists() or path.stat().st_size > kept.stat().st_size):
            shutil.copyfile(path, kept)
    for path in captures:
        shutil.rmtree(path.parent, ignore_errors=True)


def measure_program(name, chosen, rounds, work):
    """Interleaved: every tool once a round, so that a slow spell of the machine meets them all."""
    costs = {tool.name: [] for tool in chosen}
    failures = {}
    for number in range(rounds):
        for tool in chosen:
            if number >= tool.most_rounds or tool.name in failures:
                continue
            try:
                cost, captures = run_once(tool, tools.PROGRAMS[name], work)
            except measure.Failed as failure:
                failures[tool.name] = str(failure)
                print(f"  {name}: {tool.name}: {failure}", file=sys.stderr, flush=True)
                continue
            costs[tool.name].append(cost)
            keep_largest(captures, work)
        print(f"  {name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    result = {tool: medians(runs) for tool, runs in costs.items() if runs}
    result.update({tool: {"failed": failure} for tool, failure in failures.items()})
    return result


def medians(runs):
    fields = ("cpu_s", "wall_s", "rss_bytes", "capture_bytes")
    result = {field: statistics.median(getattr(run, field) for run in runs) for field in fields}
    result["rounds"] = len(runs)
    for field in ("cpu_s", "wall_s"):
        result[f"{field}_all"] = [round(getattr(run, field), 4) for run in runs]
    return result


def measure_startup(arguments, chosen, work):
    """What `memlens run` adds to `python -c pass`, in milliseconds."""
    if arguments.startup_rounds < 1 or not any(tool.name == "memlens" for tool in chosen):
        return None
    plain = [tools.PYTHON, "-c", "pass"]
    capture = work / "startup.mlens"
    recorded = [arguments.memlens, "run", "-q", "-o", str(capture), "--python", tools.PYTHON, "-c", "pass"]
    pairs = []
    for _ in range(arguments.startup_rounds):
        pairs.append((measure.run(plain, work), measure.run(recorded, work)))
        # A new file each time, as users have it: to replace one makes ext4 write the new one out to the disk.
        capture.unlink()

    def middle(side, field):
        return 1000 * statistics.median(getattr(pair[side], field) for pair in pairs)

    figures = {f"{name}_{field}": middle(side, f"{field}_s") for side, name in enumerate(("plain", "memlens")) for field in ("wall", "cpu")}
    figures["added_wall"] = figures["memlens_wall"] - figures["plain_wall"]
    figures["added_cpu"] = figures["memlens_cpu"] - figures["plain_cpu"]
    return figures


def measure_summary(arguments, work):
    """Wall time of `memlens summary` of the largest capture, in milliseconds."""
    capture = work / "largest.mlens"
    if not capture.exists():
        return None
    runs = [measure.run([arguments.memlens, "summary", str(capture)], work) for _ in range(11)]
    return 1000 * statistics.median(run.wall_s for run in runs)


def machine():
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
    }


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def measure_all(arguments, chosen, work):
    report = {
        "schema": "memlens.bench/1",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "tools": {tool.name: {"version": tool.version, "rounds": min(arguments.rounds, tool.most_rounds)} for tool in chosen},
        "programs": {},
    }
    for name in arguments.only or tools.PROGRAMS:
        report["programs"][name] = measure_program(name, chosen, arguments.rounds, work)
        save(report, arguments.output)
    report["startup_ms"] = measure_startup(arguments, chosen, work)
    report["summary_ms"] = measure_summary(arguments, work)
    return report


def save(report, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def main():
    arguments = parse_arguments()
    chosen = chosen_tools(arguments)
    measure.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="memlens-bench-") as folder:
        report = measure_all(arguments, chosen, pathlib.Path(folder))
    save(report, arguments.output)
    text = table.render(report)
    arguments.output.with_suffix(".md").write_text(text)
    print(text)
    print(table.render_targets(report))


if __name__ == "__main__":
    main()
