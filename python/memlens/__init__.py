"""Where the memory of a Python program goes: sizes of live objects, and who keeps them alive.

>>> import memlens
>>> memlens.sizeof([1.5, 2.5])
136
>>> print(memlens.size_tree({"a": [1.5] * 1000}))  # doctest: +SKIP
"""

from __future__ import annotations

import sys

from ._errors import ArgumentError, Error, FileError, UnknownObjectError, UnsupportedError

# The same as typing's, without the import of typing: `import memlens` is to cost next to nothing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from ._size_tree import SizeTree as SizeTree
    from ._snapshot import Snapshot as Snapshot

    __version__: str

__all__ = [
    "ArgumentError",
    "Error",
    "FileError",
    "SizeTree",
    "Snapshot",
    "UnknownObjectError",
    "UnsupportedError",
    "load",
    "size_tree",
    "sizeof",
    "snapshot",
]

if "free-threading" in sys.version:
    raise UnsupportedError("memlens cannot read the objects of a free-threaded CPython yet; use a build with the GIL")
from ._native import sizeof  # noqa: E402


def size_tree(obj: object, depth: int = 3, *, include: Iterable[str] = (), name: str = "obj") -> SizeTree:
    """The size of an object and of what it is made of, as a tree whose branches have names.

    Each node has, in bytes, ``shallow`` (the object's own blocks), ``deep`` (all that belongs to it, each object and
    buffer once), ``retained`` (what would go if it went) and ``pinned`` (what it keeps of buffers that it does not show).
    Print it, display it in a notebook, or take ``to_dict()`` and ``to_json()``.

    ``depth`` is the number of levels below the object, ``name`` what to call it; for ``include`` see :func:`sizeof`.
    """
    from ._size_tree import build

    return build(obj, depth, include, name)


def snapshot(*, fork: bool = False) -> Snapshot:
    """The whole heap of this process: every object, its size, its references with their names, and what keeps it alive.

    With ``fork=True`` a forked child walks the heap: the program stands still only while it forks, and goes on (in its
    other threads) while the picture of that one moment is made.
    """
    from ._snapshot import take

    return take(fork)


def load(path: str | PathLike[str]) -> Snapshot:
    """A snapshot that :meth:`Snapshot.save` wrote. A damaged or newer file raises :class:`FileError`."""
    from ._snapshot import load

    return load(path)


def __getattr__(name: str) -> object:
    # Imported when first asked for: `import memlens` is to cost next to nothing.
    if name == "SizeTree":
        from ._size_tree import SizeTree

        return SizeTree
    if name == "Snapshot":
        from ._snapshot import Snapshot

        return Snapshot
    if name == "__version__":
        from importlib.metadata import version

        return version("memlens")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
