"""pyperformance's deepcopy: all three of its functions."""

import pyperformance_source

benchmark = pyperformance_source.load("deepcopy")
benchmark.benchmark(1500)
benchmark.benchmark_reduce(1500)
benchmark.benchmark_memo(1500)
