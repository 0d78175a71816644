"""Loads a benchmark's own source from the installed pyperformance, with a stand-in for its runner.

pyperf would start worker processes; here the bench function runs in a plain loop in this one process.
"""

import importlib.util
import pathlib
import sys
import time
import types


def load(name):
    sys.modules["pyperf"] = stand_in()
    package = importlib.util.find_spec("pyperformance")
    if package is None:
        raise SystemExit("needs pyperformance (cargo xtask bench installs it)")
    folder = pathlib.Path(package.origin).parent / "data-files" / "benchmarks" / f"bm_{name}"
    spec = importlib.util.spec_from_file_location(f"bm_{name}", folder / "run_benchmark.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def stand_in():
    module = types.ModuleType("pyperf")
    module.perf_counter = time.perf_counter
    return module
