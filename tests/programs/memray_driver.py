"""Known allocations by the driver that memray's wheel ships for its own tests, without memray's tracker; prints the books of each function.

Each function below is one line that asks one allocator, so that its name stands for the line. A book has allocations and bytes, and of these
what is live at the end, by function and allocator.
"""

import json
import os
import random
import sys
import threading

from memray._test import (
    MemoryAllocator,
    MmapAllocator,
    PymallocDomain,
    PymallocMemoryAllocator,
    _cython_allocate_in_two_places,
    _cython_nested_allocation,
    allocate_cpp_vector,
    allocate_without_gil_held,
    fill_cpp_vector,
    function_caller,
)

ROUNDS = 200
PAGE = 4096
randomness = random.Random(int(sys.argv[1]))
books, released = {}, {"by_free": [0, 0], "by_free_sized": [0, 0], "by_free_aligned_sized": [0, 0]}


# fmt: off
def by_malloc(block, size): return block.malloc(size)
def by_calloc(block, size): return block.calloc(size)
def by_realloc(block, size): return block.realloc(size)
def by_posix_memalign(block, size): return block.posix_memalign(size)
def by_aligned_alloc(block, size): return block.aligned_alloc(size)
def by_memalign(block, size): return block.memalign(size)
def by_valloc(block, size): return block.valloc(size)
def by_pvalloc(block, size): return block.pvalloc(size)
def by_free(block, size): return block.free()
def by_free_sized(block, size): return block.free_sized(size)
def by_free_aligned_sized(block, size): return block.free_aligned_sized(size)
def in_pthread(block, size): return block.malloc(size)
def in_callback_from_c(block, size): return block.malloc(size)
def nested_in_c(size): return nested.valloc(size)
def around_nested(size): return _cython_nested_allocation(nested_in_c, size)
def in_two_places(size): return _cython_allocate_in_two_places(size)
def without_gil(ready, go): return allocate_without_gil_held(ready, go)
def vector_reserved(size): return allocate_cpp_vector(size)
def vector_filled(size): return fill_cpp_vector(size)
def by_raw_malloc(block, size): return block.malloc(size)
def by_raw_calloc(block, size): return block.calloc(size)
def by_raw_realloc(block, size): return block.realloc(size)
def by_mem_malloc(block, size): return block.malloc(size)
def by_mem_calloc(block, size): return block.calloc(size)
def by_mem_realloc(block, size): return block.realloc(size)
def by_object_malloc(block, size): return block.malloc(size)
def by_object_calloc(block, size): return block.calloc(size)
def by_object_realloc(block, size): return block.realloc(size)
def by_mmap(size): return MmapAllocator(size)
# fmt: on


def book(function, allocator, size, live_size=0, is_live=False):
    """Enters one allocation, of which `live_size` bytes stay."""
    figures = books.setdefault(function.__name__, {}).setdefault(allocator, [0, 0, 0, 0])
    for place, change in enumerate((1, size, int(is_live), live_size)):
        figures[place] += change


def book_release(function, size):
    released[function.__name__][0] += 1
    released[function.__name__][1] += size


def release(block, size, function):
    """By the wished function; by `free` where the C library has no such."""
    if function(block, size) is False:
        function = by_free
        function(block, size)
    book_release(function, size)


def blocks_of_c():
    """Every C function; two blocks of three are released, each in another of three ways."""
    releases = (by_free, by_free_sized, by_free_aligned_sized)
    # A size of aligned_alloc must be a multiple of the alignment by the letter of C11: all are multiples of 8.
    for function in (by_malloc, by_calloc, by_realloc, by_posix_memalign, by_aligned_alloc, by_memalign, by_valloc, by_pvalloc):
        allocator = function.__name__.removeprefix("by_")
        for number in range(ROUNDS):
            block, size = MemoryAllocator(), 8 * randomness.randrange(1, 4000)
            assert function(block, size)
            if function is by_realloc:
                book(function, "malloc", 1)
            stays = number % 3 == 0
            book(function, allocator, size, size if stays else 0, stays)
            if stays:
                kept.append(block)
            else:
                release(block, size, releases[number // 3 % len(releases)])


def blocks_of_python():
    """The three domains; a block is resized and then released, or stays."""
    domains = [
        ("pymem_raw", PymallocDomain.PYMALLOC_RAW, by_raw_malloc, by_raw_calloc, by_raw_realloc),
        ("pymem", PymallocDomain.PYMALLOC_MEM, by_mem_malloc, by_mem_calloc, by_mem_realloc),
        ("pyobject", PymallocDomain.PYMALLOC_OBJECT, by_object_malloc, by_object_calloc, by_object_realloc),
    ]
    for allocator, domain, malloc, calloc, realloc in domains:
        for number in range(ROUNDS):
            block, size, grown = PymallocMemoryAllocator(domain), randomness.randrange(1, 3000), randomness.randrange(1, 3000)
            first = malloc if number % 2 else calloc
            first(block, size)
            is_resized, stays = number % 5 < 2, number % 3 == 0
            if is_resized:
                book(first, allocator, size)
                realloc(block, grown)
            book(realloc if is_resized else first, allocator, grown if is_resized else size, (grown if is_resized else size) * stays, stays)
            kept.append(block) if stays else block.free()


def mappings():
    """Each is released in part: of 16 pages the last 4, or the 4 in the middle, or all."""
    for number in range(ROUNDS):
        mapping = by_mmap(16 * PAGE)
        offset, pages = ((12, 4), (6, 4), (0, 16))[number % 3]
        mapping.munmap(pages * PAGE, offset * PAGE)
        book(by_mmap, "mmap", 16 * PAGE, (16 - pages) * PAGE, pages < 16)
        kept.append(mapping)


def other_ways_in():
    """From a thread that Python did not start, from callbacks, and from C++."""
    for number in range(1, ROUNDS + 1):
        size = 40 * number
        for function, enter in ((in_pthread, MemoryAllocator().run_in_pthread), (in_callback_from_c, function_caller)):
            block = MemoryAllocator()
            enter(lambda: function(block, size))
            kept.append(block)
            book(function, "malloc", size, size, True)
        around_nested(size)
        nested.free()
        book(nested_in_c, "valloc", size)
        book(around_nested, "valloc", size)
        in_two_places(size)
        book(in_two_places, "valloc", size)
        book(in_two_places, "valloc", size)
        vector_reserved(size)
        book(vector_reserved, "malloc", size)
        vector_filled(size)
        # A vector of 4-byte numbers grows by doubling from one element.
        for power in range((size // 4 - 1).bit_length() + 1):
            book(vector_filled, "malloc", 4 << power)


def thread_without_gil():
    """A thread that allocates while the main thread holds the GIL, and once more with the GIL."""
    (ready, say_ready), (wait, go) = os.pipe(), os.pipe()
    thread = threading.Thread(target=without_gil, args=(say_ready, wait))
    thread.start()
    os.read(ready, 1)
    os.write(go, b"x")
    thread.join()
    book(without_gil, "valloc", 1234)
    book(without_gil, "valloc", 4321)


kept, nested = [], MemoryAllocator()
# Else a name that the interpreter's cache of methods held alone would be released on one of the lines that release.
sys._clear_type_cache()
blocks_of_c()
blocks_of_python()
mappings()
other_ways_in()
thread_without_gil()
print(json.dumps({"books": books, "released": released}), flush=True)
# Without any clean-up: what is live now stays.
os._exit(0)
