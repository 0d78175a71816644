"""pyperformance's nbody: floating-point numbers in a tight loop."""

import pyperformance_source

benchmark = pyperformance_source.load("nbody")
benchmark.bench_nbody(12, benchmark.DEFAULT_REFERENCE, benchmark.DEFAULT_ITERATIONS)
