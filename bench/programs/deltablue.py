"""pyperformance's deltablue: a constraint solver, many small objects with methods."""

import pyperformance_source

benchmark = pyperformance_source.load("deltablue")
for _ in range(250):
    benchmark.delta_blue(100)
