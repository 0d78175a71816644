"""Memory that C libraries hold for an object where no reference leads. Its amounts are among the cases of test_truth."""

import bz2
import ctypes
import lzma
import mmap
import sys
import zlib

import memlens
import pytest

COMPRESSOR = 200_000


def test_what_a_library_holds_is_called_opaque():
    tree = memlens.size_tree(zlib.compressobj())
    assert tree.opaque > COMPRESSOR
    assert tree.deep == tree.opaque + sys.getsizeof(zlib.compressobj())
    assert "opaque" in str(tree)


def test_each_object_has_its_own():
    one = memlens.sizeof(bz2.BZ2Compressor())
    assert memlens.sizeof(*[bz2.BZ2Compressor() for _ in range(5)]) == 5 * one


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="__new__ makes the whole object")
@pytest.mark.parametrize("kind", [bz2.BZ2Compressor, bz2.BZ2Decompressor, lzma.LZMACompressor, lzma.LZMADecompressor])
def test_it_holds_nothing_before_it_was_made(kind):
    made = kind.__new__(kind)
    assert memlens.size_tree(made).opaque == 0
    assert memlens.sizeof(made) == sys.getsizeof(made)


@pytest.mark.parametrize("fork", [False, True])
def test_a_snapshot_counts_it(fork):
    made, array = lzma.LZMACompressor(preset=0), ctypes.create_string_buffer(1_000_000)
    snapshot = memlens.snapshot(fork=fork)
    assert snapshot.coverage().opaque > 2_000_000
    assert snapshot.retained(made) > 2_000_000
    # Its class goes with it.
    assert snapshot.retained(array) == pytest.approx(1_000_000, rel=0.01)


def test_a_plain_object_holds_nothing_opaque():
    assert memlens.size_tree([{"a": [1.5, "text"]}, bytes(100_000), object()]).opaque == 0


def test_memory_that_a_program_named_is_not_the_instances_own():
    block = ctypes.create_string_buffer(1_000_000)
    shown = (ctypes.c_char * 1_000_000).from_address(ctypes.addressof(block))
    assert memlens.sizeof(shown) < 1000
    assert memlens.sizeof(block, shown, memoryview(block)) < 1_002_000


@pytest.mark.parametrize("make", [lambda: ctypes.create_string_buffer(1_000_000), lambda: mmap.mmap(-1, 1_000_000)])
def test_memory_that_its_object_shows_is_not_pinned(make):
    tree = memlens.size_tree(make())
    assert (tree.pinned, tree.deep) == (0, pytest.approx(1_000_000, rel=0.01))


def test_a_resized_array():
    array = (ctypes.c_char * 10)()
    ctypes.resize(array, 500_000)
    assert memlens.sizeof(array) == pytest.approx(500_000, rel=0.01)
