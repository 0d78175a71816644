"""The results as tables: ratios to plain Python, sizes, and whether the targets are met."""

import math
import statistics

TARGET_MEAN = 1.20
TARGET_WORST = 1.45
TARGET_IDLE = 1.02
IDLE_PROGRAMS = ("fib", "nbody")
TARGET_STARTUP_MS = 10
TARGET_CAPTURE_BYTES = 2_000_000
TARGET_SUMMARY_MS = 100


def ratio(results, program, tool, field):
    """The median over the rounds of `field` relative to plain Python's in the same round; None where one of them did not run.

    What ran one after the other is compared: a shared machine may change its speed by a half within a minute, and medians of each by itself then
    say which of the two met more slow rounds.
    """
    mine, plain = (results.get(program, {}).get(name, {}).get(f"{field}_all", []) for name in (tool, "plain"))
    ratios = [one / other for one, other in zip(mine, plain) if other]
    return statistics.median(ratios) if ratios else None


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values)) if values else None


def ratios_of(results, tool, field):
    ratios = (ratio(results, program, tool, field) for program in results)
    return [value for value in ratios if value is not None]


def cell(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def markdown(header, rows):
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells):
        first, *others = (text.ljust(width) if at == 0 else text.rjust(width) for at, (text, width) in enumerate(zip(cells, widths)))
        return "| " + " | ".join([first, *others]) + " |"

    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def ratio_table(results, tools, field):
    """A row a program: seconds of plain Python, then each tool's ratio to it; last the geometric mean."""
    names = [name for name in tools if name != "plain"]
    rows = []
    for program, costs in results.items():
        seconds = costs.get("plain", {}).get(field)
        rows.append([program, cell(seconds), *(cell(ratio(results, program, name, field)) for name in names)])
    means = [cell(geometric_mean(ratios_of(results, name, field))) for name in names]
    return markdown(["program", "plain, s", *names], [*rows, ["geometric mean", "", *means]])


def size_table(results, tools):
    """A row a program: each tool's capture in kilobytes, and the largest resident set in megabytes."""
    writers = [name for name in tools if any(costs.get(name, {}).get("capture_bytes") for costs in results.values())]
    rows = []
    for program, costs in results.items():
        sizes = [scaled(costs, name, "capture_bytes", 1000) for name in writers]
        residents = [scaled(costs, name, "rss_bytes", 1_000_000) for name in ("plain", *writers)]
        rows.append([program, *sizes, *residents])
    header = ["program", *(f"{name}, kB" for name in writers), *(f"RSS {name}, MB" for name in ("plain", *writers))]
    return markdown(header, rows)


def scaled(costs, tool, field, unit):
    value = costs.get(tool, {}).get(field)
    return cell(None if value is None else value / unit, "{:.0f}")


def targets(report):
    """(what, figure, met or not) for each target; empty if memlens was not run."""
    results = report["programs"]
    cpu = {program: ratio(results, program, "memlens", "cpu_s") for program in results}
    cpu = {program: value for program, value in cpu.items() if value is not None}
    if not cpu:
        return []
    worst = max(cpu, key=cpu.get)
    mean = geometric_mean(list(cpu.values()))
    checks = [
        (f"geometric mean <= {TARGET_MEAN}", f"{mean:.3f}", mean <= TARGET_MEAN),
        (f"worst <= {TARGET_WORST}", f"{cpu[worst]:.3f} ({worst})", cpu[worst] <= TARGET_WORST),
    ]
    checks += [(f"{program} <= {TARGET_IDLE}", f"{cpu[program]:.3f}", cpu[program] <= TARGET_IDLE) for program in IDLE_PROGRAMS if program in cpu]
    checks += below_memray(results, cpu)
    return checks + limits(report)


def below_memray(results, cpu):
    rival = {program: ratio(results, program, "memray", "cpu_s") for program in cpu}
    above = [program for program, value in rival.items() if value is not None and cpu[program] >= value]
    return [("below memray's default on each", ", ".join(above) or "all below", not above)]


def limits(report):
    sizes = [costs["memlens"]["capture_bytes"] for costs in report["programs"].values() if costs.get("memlens", {}).get("capture_bytes")]
    largest = max(sizes, default=0)
    checks = [("largest capture < 2 MB", f"{largest / 1e6:.3f} MB", largest < TARGET_CAPTURE_BYTES)]
    if startup := report.get("startup_ms"):
        checks.append((f"start-up <= {TARGET_STARTUP_MS} ms", f"{startup['added_wall']:.1f} ms", startup["added_wall"] <= TARGET_STARTUP_MS))
    if summary := report.get("summary_ms"):
        checks.append((f"summary of it < {TARGET_SUMMARY_MS} ms", f"{summary:.0f} ms", summary < TARGET_SUMMARY_MS))
    return checks


def render(report):
    tools = list(report["tools"])
    parts = [
        "CPU time (user and system, whole process tree), relative to plain Python:",
        ratio_table(report["programs"], tools, "cpu_s"),
        "Wall time, relative to plain Python:",
        ratio_table(report["programs"], tools, "wall_s"),
        "Capture and largest resident set:",
        size_table(report["programs"], tools),
    ]
    machine = report["machine"]
    parts.append(
        f"Medians; a ratio is the median of the rounds' own; rounds: {rounds_line(report)}. {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {report['date']}. "
        + ", ".join(f"{name} {tool['version']}" for name, tool in report["tools"].items() if name != "plain")
        + "."
    )
    return "\n\n".join(parts) + "\n"


def rounds_line(report):
    return ", ".join(f"{name} {tool['rounds']}" for name, tool in report["tools"].items())


def render_targets(report):
    return "\n".join(f"{'met   ' if met else 'MISSED'}  {what}: {figure}" for what, figure, met in targets(report))
