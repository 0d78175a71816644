"""Buffers of known sizes from the allocators inside polars and pyarrow; prints how many bytes each allocator gave."""

import json

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


def of_mimalloc():
    return of_pool(pyarrow.mimalloc_memory_pool())


def of_jemalloc():
    return of_pool(pyarrow.jemalloc_memory_pool())


kept = [of_polars(), of_mimalloc(), of_jemalloc()]
print(json.dumps({"of_polars": 2 * 8 * ROWS, "of_pool": sum(pool.bytes_allocated() for pool, _, _ in kept[1:])}))
