"""A C stack that overflows, by a chain of iterators that is as deep as it is long to release."""

import resource
import sys


def kept_to_the_end():
    return [bytes(1000) for _ in range(5000)]


kept = kept_to_the_end()
sys.stdout.flush()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
chain = iter(())
for _ in range(2_000_000):
    chain = map(abs, chain)
next(chain, None)
