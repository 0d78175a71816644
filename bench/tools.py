"""The tools that are compared, each as the command that records a program."""

import dataclasses
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import typing

PYTHON = sys.executable


@dataclasses.dataclass
class Tool:
    name: str
    #: (program, folder for output) -> command
    command: typing.Callable
    #: What it writes into the folder, as patterns; added up, this is the capture's size.
    captures: tuple = ()
    #: A slow tool is run at most this often; the table says so.
    most_rounds: int = 1000
    version: str = ""

    @property
    def is_slow(self):
        """Whether its rounds are limited."""
        return self.most_rounds < 1000


def installed(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memlens_tool(binary):
    def command(program, folder):
        return [binary, "run", "-q", "-o", folder / "capture.mlens", "--python", PYTHON, program]

    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Tool("memlens", command, ("*.mlens",), version=version.removeprefix("memlens "))


def memray_tool(name, options, version, most_rounds):
    def command(program, folder):
        return [PYTHON, "-m", "memray", "run", "-q", *options, "-o", folder / "capture.bin", program]

    return Tool(name, command, ("capture.bin",), most_rounds, version)


def tracemalloc_tool(frames):
    def command(program, _folder):
        return [PYTHON, "-X", f"tracemalloc={frames}", program]

    return Tool(f"tracemalloc {frames}", command, (), 2, "in Python")


def scalene_tool(version):
    def command(program, folder):
        return [PYTHON, "-m", "scalene", "run", "-o", folder / "scalene.json", program]

    return Tool("scalene", command, ("scalene.json",), 3, version)


def available(memlens_binary):
    """The tools in the order of the table, and a line for each one that is missing."""
    found = [Tool("plain", lambda program, _folder: [PYTHON, program], version=sys.version.split()[0])]
    missing = []
    if is_command(memlens_binary):
        found.append(memlens_tool(memlens_binary))
    else:
        missing.append(f"memlens is left out: there is no {memlens_binary} that records")
    if version := installed("memray"):
        found.append(memray_tool("memray", [], version, 1000))
        found.append(memray_tool("memray python", ["--trace-python-allocators"], version, 3))
    else:
        missing.append("memray is left out: it is not installed")
    found += [tracemalloc_tool(1), tracemalloc_tool(25)]
    if version := installed("scalene"):
        found.append(scalene_tool(version))
    else:
        missing.append("scalene is left out: it is not installed")
    return found, missing


def is_command(binary):
    """Whether there is such a program and it knows `run`."""
    if not os.access(binary, os.X_OK):
        return False
    probe = subprocess.run([binary, "run", "--help"], capture_output=True, text=True, check=False)
    return probe.returncode == 0 and "--python" in probe.stdout


BENCH = pathlib.Path(__file__).resolve().parent
EXAMPLES = BENCH.parent / "examples"

PROGRAMS = {
    "flights": EXAMPLES / "flights.py",
    **{
        name: BENCH / "programs" / f"{name}.py"
        for name in (
            "churn",
            "fib",
            "json_round_trip",
            "million_list",
            "deltablue",
            "raytrace",
            "mdp",
            "deepcopy",
            "comprehensions",
            "nbody",
        )
    },
}
