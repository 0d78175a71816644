"""pyperformance's raytrace: vectors as objects."""

import pyperformance_source

benchmark = pyperformance_source.load("raytrace")
benchmark.bench_raytrace(3, benchmark.DEFAULT_WIDTH, benchmark.DEFAULT_HEIGHT, None)
