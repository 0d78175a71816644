"""What a slice of a polars column keeps alive."""

import memlens
import pytest

pl = pytest.importorskip("polars")


def test_a_slice_pins_its_column():
    part = pl.Series("n", list(range(100_000))).slice(500, 10)
    tree = memlens.size_tree(part)
    assert tree.pinned == 800_000 - 80
    assert 800_000 <= memlens.sizeof(part) < 801_000


def test_a_whole_column_pins_nothing():
    column = pl.Series("n", list(range(100_000)))
    assert memlens.size_tree(column).pinned == 0
    assert memlens.size_tree([column, column.slice(500, 10)]).pinned == 0


def test_a_slice_of_texts_pins_the_others():
    texts = ["a text of more than twelve letters: %d" % number for number in range(10_000)]
    column = pl.Series("t", texts)
    whole = memlens.size_tree(column)
    assert whole.pinned < whole.deep * 0.02
    part = memlens.size_tree(column.slice(100, 5))
    own = 5 * 16 + sum(map(len, texts[100:105]))
    assert part.deep == pytest.approx(whole.deep, rel=0.01)
    assert part.pinned == pytest.approx(whole.deep - own, rel=0.02)


def test_a_slice_of_a_frame_pins_each_column():
    part = pl.DataFrame({"a": range(50_000), "b": [1.5] * 50_000, "flag": [True, False] * 25_000})[10:20]
    assert memlens.size_tree(part).pinned == 2 * (400_000 - 80) + 6_250 - 2


def test_an_empty_buffer_is_no_storage():
    short = pl.Series("s", ["s%d" % number for number in range(10_000)])  # Texts that stand in their views: no buffer of letters.
    assert memlens.sizeof(short) == pytest.approx(160_000, rel=0.02)
    assert memlens.size_tree(short.slice(100, 5)).pinned == 160_000 - 5 * 16
