"""Buffers of known sizes from the allocators inside polars and pyarrow; prints how many bytes each allocator gave, and ends while it holds them."""

import json
import os

import polars
import pyarrow

ROWS = 2_500_000


def of_pool(pool):
    large = pyarrow.allocate_buffer(30_000_000, memory_pool=pool)
    small = [pyarrow.allocate_buffer(1_000 + index, memory_pool=pool) for index in range(1_000)]
    return pool, large, small


def of_polars():
    numbers = polars.int_range(0, ROWS, eager=True)
    return numbers, numbers * 3


def by_threads_of_polars():
    """Sorted by polars' own threads, while this line waits."""
    numbers = polars.int_range(0, ROWS, eager=True)
    frame = polars.DataFrame({"number": numbers, "key": numbers * 7919 % 1_000_003})
    return frame.sort("key", "number")


def of_mimalloc():
    return of_pool(pyarrow.mimalloc_memory_pool())


def of_jemalloc():
    return of_pool(pyarrow.jemalloc_memory_pool())


pools = [of_mimalloc(), of_jemalloc()]
kept = [of_polars(), by_threads_of_polars(), pools]
column = 8 * ROWS
held = {
    "of_polars": 2 * column,
    "by_threads_of_polars": 2 * column,
    "of_pool": sum(pool.bytes_allocated() for pool, _, _ in pools),
}
print(json.dumps(held), flush=True)
os._exit(0)
