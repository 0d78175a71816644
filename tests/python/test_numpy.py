"""numpy's memory: each buffer once, and what small views keep."""

import mmap

import memlens
import pytest

np = pytest.importorskip("numpy")

FRAMES = {}


def test_a_small_view_pins_its_base():
    view = np.ones(1_000_000)[:10]
    tree = memlens.size_tree(view)
    assert tree.pinned == 8_000_000 - 80
    assert 8_000_000 < tree.deep < 8_001_000
    assert tree.retained == tree.deep


def test_a_view_of_an_array_in_use_pins_nothing():
    array = np.ones(1_000_000)
    tree = memlens.size_tree(array[:10])
    assert tree.pinned == 0
    assert tree.retained < 500


def test_two_views_pin_what_neither_shows():
    array = np.ones(1_000_000)
    views = [array[:10], array[5:20]]
    del array
    assert memlens.size_tree(views).pinned == 8_000_000 - 20 * 8


def test_an_array_and_its_views_are_one_buffer():
    array = np.ones(1_000_000)
    assert memlens.sizeof(array, array[1:], array[::2]) - memlens.sizeof(array) < 500


def test_a_mapped_file_is_not_heap(tmp_path):
    path = tmp_path / "array.bin"
    path.write_bytes(bytes(8_000_000))
    mapped = np.memmap(path, dtype="f8")
    tree = memlens.size_tree(mapped)
    on_memory = tree.file == 0
    assert tree.deep < 2000 or on_memory
    assert tree.file == 8_000_000 or tree.deep > 8_000_000


def test_an_anonymous_mapping_is_heap():
    assert 10_000_000 < memlens.sizeof(mmap.mmap(-1, 10_000_000)) < 10_001_000


def test_pandas_columns_and_slices():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"price": np.arange(100_000) * 0.5, "n": np.arange(100_000)})
    tree = memlens.size_tree(frame, name="df")
    assert tree.deep == memlens.sizeof(frame)
    assert tree.pinned < 1000
    assert {tree[label].deep for label in ("['price']", "['n']")} == {800_000}
    head = pd.Series(["string %d" % i for i in range(100_000)]).iloc[:10]
    tree = memlens.size_tree(head)
    assert tree.deep > 700_000
    if type(head.array).__name__.startswith("Arrow"):
        assert tree.pinned > 0.99 * tree.deep - 10_000


def test_an_arrow_slice_pins_its_buffers():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": list(range(100_000))}).slice(0, 10)
    tree = memlens.size_tree(table)
    assert 799_000 < tree.pinned < 800_000
    assert tree.deep - tree.pinned < 1000


def test_a_column_has_a_path():
    pd = pytest.importorskip("pandas")
    cells = [[bytes(1000)] for _ in range(10)]
    FRAMES["f"] = pd.DataFrame({"cells": pd.Series(cells, dtype=object), "n": np.arange(10)})
    try:
        paths = memlens.snapshot().why(cells[3], 10)
        assert "test_numpy.FRAMES['f']['cells']" in paths
    finally:
        FRAMES.clear()
