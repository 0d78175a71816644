"""Memory that objects of C types hold where no traversal leads, against what the C library's allocator says it gave."""

import bz2
import ctypes
import zlib
from xml.parsers import expat

import memlens
import pytest


class Counts(ctypes.Structure):
    """``struct mallinfo2``."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Counts


def given(build):
    """The object, and what the allocator gave while it was built."""
    build()
    before = mallinfo()
    made = build()
    after = mallinfo()
    return made, after.uordblks + after.hblkhd - before.uordblks - before.hblkhd


def half_read():
    reader = zlib.decompressobj()
    reader.decompress(zlib.compress(bytes(range(256)) * 400)[:100])
    return reader


def parser():
    made = expat.ParserCreate()
    made.Parse("<a>" + "<b c='1'>text</b>" * 1000)
    return made


@pytest.mark.parametrize("build", [zlib.compressobj, half_read, bz2.BZ2Compressor, parser], ids=lambda build: build.__name__)
def test_what_a_library_allocates_is_opaque(build):
    made, truth = given(build)
    tree = memlens.size_tree(made)
    assert tree.opaque == pytest.approx(truth, rel=0.1)
    assert tree.shallow >= tree.opaque
    assert memlens.sizeof(made) == pytest.approx(tree.deep, rel=0.02)
    assert "opaque" in str(tree)


def test_each_object_has_its_own():
    one = memlens.sizeof(bz2.BZ2Compressor())
    assert memlens.sizeof([bz2.BZ2Compressor() for _ in range(5)]) == pytest.approx(5 * one, rel=0.02)


def test_an_array_of_ctypes():
    made = (ctypes.c_char * 1_000_000)()
    assert memlens.size_tree(made).opaque == pytest.approx(1_000_000, rel=0.001)


def test_a_plain_object_holds_nothing_opaque():
    assert memlens.size_tree([{"a": [1.5, "text"]}, bytes(100_000), object()]).opaque == 0


def test_a_snapshot_counts_it():
    made = zlib.compressobj()
    snapshot = memlens.snapshot()
    assert snapshot.coverage().opaque > 200_000
    assert snapshot.retained(made) > 200_000
