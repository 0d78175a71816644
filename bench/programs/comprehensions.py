"""pyperformance's comprehensions: short lists and dicts."""

import pyperformance_source

benchmark = pyperformance_source.load("comprehensions")
benchmark.bench_comprehensions(35_000)
