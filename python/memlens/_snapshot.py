"""The whole heap at one moment, and questions to it."""

from __future__ import annotations

import _thread
import os
import sys
from typing import NamedTuple, Optional

from . import _native
from ._errors import ArgumentError, UnknownObjectError
from ._human import bytes_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    _T = TypeVar("_T")


class ObjectRow(NamedTuple):
    """An object: its address (`id`), type, own bytes, retained bytes, and a path that leads to it."""

    address: int
    type: str
    bytes: int
    retained: int
    path: str


class TypeRow(NamedTuple):
    """All objects of a type. ``retained``: what would go if all of them went, as far as single ones keep it."""

    type: str
    objects: int
    bytes: int
    retained: int


class ModuleRow(NamedTuple):
    """What is nearest to a module, or in ``<>`` to something that is no module."""

    module: str
    objects: int
    bytes: int


class Cycle(NamedTuple):
    """Objects that all reach each other. ``remarks``: "unreachable", "never collected", "__del__", "weakref callback"."""

    addresses: list[int]
    bytes: int
    remarks: list[str]
    way: str


class Duplicates(NamedTuple):
    """Objects of one type with equal contents."""

    type: str
    addresses: list[int]
    each: int
    wasted: int


class Sparse(NamedTuple):
    """An object that takes more room than it needs."""

    address: int
    type: str
    finding: str
    saved: int


class Suspect(NamedTuple):
    """Something that retains a tenth of the heap or more: the object, and where below it the memory gathers."""

    retained: int
    object: Optional[ObjectRow]
    gathers_at: Optional[ObjectRow]
    children: list[tuple[str, int, int]]


class Total(NamedTuple):
    """A number of objects and their bytes."""

    objects: int
    bytes: int


class Diff(NamedTuple):
    """What changed: totals by name as (objects, bytes), then rows."""

    before: Total
    after: Total
    new: Total
    gone: Total
    types: list[TypeChange]
    holders: list[HolderGrowth]
    grown: list[Grown]


class TypeChange(NamedTuple):
    """Objects and bytes of a type: before, after, new, gone, each as (objects, bytes)."""

    type: str
    before: Total
    after: Total
    new: Total
    gone: Total


class HolderGrowth(NamedTuple):
    """New objects that something old keeps alive."""

    path: str
    objects: int
    bytes: int


class Grown(NamedTuple):
    """An object that is larger than before."""

    address: int
    type: str
    before: int
    after: int
    path: str


class Coverage(NamedTuple):
    """How much of the memory the objects explain, in bytes.

    ``heap`` is what malloc and pymalloc themselves count (None where malloc is not glibc's), ``opaque`` what of ``bytes`` no reference explains.
    """

    objects: int
    bytes: int
    opaque: int
    heap: Optional[int]
    resident: Optional[int]


class Snapshot:
    """The heap of a process at one moment: :func:`memlens.snapshot` takes one, :func:`memlens.load` reads one."""

    __slots__ = ("_heap",)

    def __init__(self, heap: _native.Heap) -> None:
        self._heap = heap

    def __len__(self) -> int:
        """The number of objects, frames and buffers."""
        return len(self._heap)

    def __repr__(self) -> str:
        coverage = self.coverage()
        return f"<Snapshot of {coverage.objects:,} objects, {bytes_text(coverage.bytes)}>"

    @property
    def pause_s(self) -> float:
        """Seconds for which the program stood still; 0 for a snapshot that was loaded."""
        return self._heap.pause_s

    def retained(self, obj: object) -> int:
        """Bytes that would go if the object went."""
        return self._known(self._heap.retained(id(obj)), obj)

    def why(self, obj: object, count: int = 3) -> list[str]:
        """The shortest paths from what is alive by itself (a module, a frame, C) to the object, as names to paste."""
        paths, is_cut_short = self._known(self._heap.why(id(obj), _positive(count)), obj)
        if is_cut_short:
            import warnings

            warnings.warn("the search for paths gave up in circles: there may be more of them", RuntimeWarning, stacklevel=2)
        return paths

    def top(self, n: int = 10) -> list[ObjectRow]:
        """The objects that retain most; of those that only hand on to one another the innermost."""
        return [ObjectRow(*row) for row in self._heap.top(_positive(n))]

    def by_type(self) -> list[TypeRow]:
        """Each type, by the bytes of its objects."""
        return [TypeRow(*row) for row in self._heap.by_type()]

    def by_module(self) -> list[ModuleRow]:
        """Each module, by the bytes of the objects that are the fewest references away from it."""
        return [ModuleRow(*row) for row in self._heap.by_module()]

    def cycles(self) -> list[Cycle]:
        """Reference cycles, by bytes; those through modules and classes, which every program has, are left out."""
        return [Cycle(*row) for row in self._heap.cycles()]

    def duplicates(self) -> list[Duplicates]:
        """Strings, bytes and arrays with equal contents, by the bytes that all but one of them take."""
        return [Duplicates(*row) for row in self._heap.duplicates()]

    def sparse(self) -> list[Sparse]:
        """Lists and dicts with room to spare, columns whose every value fits a smaller type, arrays of which views show little."""
        return [Sparse(*row) for row in self._heap.sparse()]

    def suspects(self) -> list[Suspect]:
        """What may be a leak, by the rules of Eclipse's Memory Analyzer: whatever retains a tenth of the heap."""

        def row(values: _native._ObjectRow | None) -> ObjectRow | None:
            return None if values is None else ObjectRow(*values)

        rows = self._heap.suspects()
        return [Suspect(retained, row(obj), row(where), children) for retained, obj, where, children in rows]

    def diff(self, other: Snapshot) -> Diff:
        """What is new, gone and grown since ``other``, an earlier snapshot of the same process."""
        if not isinstance(other, Snapshot):
            raise ArgumentError(f"diff takes an earlier Snapshot, not {type(other).__name__}")
        rows = self._heap.diff(other._heap)
        totals = {name: Total(*total) for name, total in rows["totals"].items()}
        return Diff(
            before=totals["before"],
            after=totals["after"],
            new=totals["new"],
            gone=totals["gone"],
            types=[TypeChange(name, *(Total(*total) for total in figures)) for name, figures in rows["types"]],
            holders=[HolderGrowth(*row) for row in rows["holders"]],
            grown=[Grown(*row) for row in rows["grown"]],
        )

    def coverage(self) -> Coverage:
        """How much of the memory the objects explain."""
        return Coverage(*self._heap.coverage())

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes the snapshot's file (`.mlheap`). An existing file is replaced only with ``force=True``."""
        self._heap.save(os.fspath(path), force)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        coverage = self.coverage()
        yield f"{coverage.objects:,} objects, {bytes_text(coverage.bytes)}"
        if coverage.heap:
            share = 100 * coverage.bytes / coverage.heap
            yield f"the allocators count {bytes_text(coverage.heap)}: the objects explain {share:.1f} %"
        if coverage.resident:
            yield f"resident {bytes_text(coverage.resident)}"
        if coverage.opaque:
            yield f"{bytes_text(coverage.opaque)} of it opaque: held by libraries where no reference leads"
        yield f"{'RETAINED':>10}{'OWN':>10}  OBJECT"
        for row in self.top(10):
            line = f"{bytes_text(row.retained):>10}{bytes_text(row.bytes):>10}  {row.path or '?'}  {row.type}"
            yield line if len(line) <= 80 else line[:79] + "…"

    @staticmethod
    def _known(answer: _T | None, obj: object) -> _T:
        if answer is None:
            raise UnknownObjectError(f"no {type(obj).__name__} at {id(obj):#x} in this snapshot")
        return answer


def take(fork: bool) -> Snapshot:
    threading = sys.modules.get("threading")
    # A program that has not imported threading has one thread, but for those of C.
    names = {_thread.get_ident(): "MainThread"}
    if threading:
        names = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident}
    version = "%d.%d.%d" % sys.version_info[:3]
    command = list(getattr(sys, "orig_argv", sys.argv))
    known = (names, os.path.dirname(__file__), version, command)
    return Snapshot(_native.take(bool(fork), known))


def load(path: str | os.PathLike[str]) -> Snapshot:
    return Snapshot(_native.load(os.fspath(path)))


def _positive(count: int) -> int:
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"{count!r}: must be a number above 0")
    return count
