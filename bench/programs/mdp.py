"""pyperformance's mdp: dicts, tuples and fractions of a decision process."""

import pyperformance_source

benchmark = pyperformance_source.load("mdp")
benchmark.bench_mdp(1)
