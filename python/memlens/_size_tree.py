"""The sizes of an object and of its parts, and how they are shown."""

from __future__ import annotations

from . import _native
from ._errors import ArgumentError
from ._human import bytes_text, escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: The columns of the text, without the name.
_COLUMNS = ("deep", "retained", "shallow", "pinned")
#: Columns of a terminal; a longer line is cut.
_WIDTH = 80
_MOST_DEPTH = 1000


class SizeTree:
    """The size of an object, in bytes, and of its parts under their names.

    ``shallow``: the object's own blocks. ``deep``: all that it reaches and that belongs to it, each object and buffer once;
    what stands above it in the tree is not counted again. ``retained``: what would go if it went; what others hold as well
    stays. ``pinned``: bytes of buffers that it keeps alive and that nothing shows. ``opaque``: the part of ``deep`` that
    libraries hold where no reference leads, as they tell or as the layout of their state says. ``file``: pages of mapped files, which are in none of the others.
    ``count``: the number of objects and buffers in ``deep``.
    """

    __slots__ = ("name", "label", "type", "shallow", "deep", "retained", "pinned", "opaque", "file", "count", "children")

    name: str
    label: str
    type: str
    shallow: int
    deep: int
    retained: int
    pinned: int
    opaque: int
    file: int
    count: int
    children: list[SizeTree]

    def __init__(self, name: str, label: str, node: Any) -> None:
        self.name = name
        self.label = label
        _, self.type, sizes, children = node
        self.shallow, self.deep, self.retained, self.pinned, self.opaque, self.file, self.count = sizes
        self.children = [SizeTree(_joined(name, child[0]), child[0], child) for child in children]

    def __getitem__(self, label: str) -> SizeTree:
        """The part under this label: ``tree[".cache"]["['u1']"]``."""
        for child in self.children:
            if child.label == label:
                return child
        raise KeyError(label)

    def __iter__(self) -> Iterator[SizeTree]:
        return iter(self.children)

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain data: what :meth:`to_json` writes, without the schema's name."""
        fields = ("name", "type", "shallow", "deep", "retained", "pinned", "opaque", "file", "count")
        node: dict[str, Any] = {field: getattr(self, field) for field in fields}
        node["children"] = [child.to_dict() for child in self.children]
        return node

    def to_json(self) -> str:
        """The tree as JSON. Fields are added by later versions, never renamed."""
        import json

        return json.dumps({"schema": "memlens.size_tree/1", **self.to_dict()})

    def __str__(self) -> str:
        columns = self._columns()
        lines = ["".join(f"{column.upper():>10}" for column in columns) + "  NAME"]
        for depth, node in self._walk(0):
            numbers = "".join(f"{bytes_text(getattr(node, column)):>10}" for column in columns)
            shown = (self.name if node is self else node.label) + (f"  {node.type}" if node.type else "")
            lines.append(_cut(f"{numbers}  {'  ' * depth}{shown}"))
        lines.extend(self._remarks())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<SizeTree {self.name}: {bytes_text(self.deep)} deep, {bytes_text(self.retained)} retained>"

    def _columns(self) -> tuple[str, ...]:
        return _COLUMNS if self.pinned else _COLUMNS[:-1]

    def _remarks(self) -> Iterator[str]:
        if self.pinned:
            yield f"{bytes_text(self.pinned)} of it are pinned: kept alive by views that show less."
        if self.opaque:
            yield f"{bytes_text(self.opaque)} of it are opaque: held by a library where no reference leads."
        if self.file:
            yield f"{bytes_text(self.file)} of mapped files are not counted."

    def _walk(self, depth: int) -> Iterator[tuple[int, SizeTree]]:
        waiting = [(depth, self)]
        while waiting:
            depth, node = waiting.pop()
            yield depth, node
            waiting.extend((depth + 1, child) for child in reversed(node.children))

    def _repr_html_(self) -> str:
        columns = self._columns()
        head = "".join(f"<th style='{_NUMBER}'>{column}</th>" for column in columns)
        rows = []
        for depth, node in self._walk(0):
            cells = "".join(
                f"<td style='{_NUMBER}' title='{getattr(node, column):,} bytes'>{bytes_text(getattr(node, column))}</td>"
                for column in columns
            )
            shown = escaped(self.name if node is self else node.label)
            style = f"text-align:left;padding-left:{depth * 1.5 + 0.5}em;{_bar(node.deep, self.deep)}"
            rows.append(f"<tr><td style='{style}'><code>{shown}</code> {escaped(node.type)}</td>{cells}</tr>")
        remarks = "".join(f"<p>{escaped(remark)}</p>" for remark in self._remarks())
        name = "<th style='text-align:left;padding-left:0.5em'>name</th>"
        return f"<table><thead><tr>{name}{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{remarks}"


#: How a number stands in its cell.
_NUMBER = "text-align:right;padding-left:1.5em;font-variant-numeric:tabular-nums;white-space:nowrap"


def _bar(part: int, whole: int) -> str:
    """The share of the whole as a bar behind the text, light enough for pages of any colour."""
    percent = 100 * part / whole if whole else 0
    return f"background:linear-gradient(to right,rgba(64,128,192,0.25) {percent:.1f}%,transparent {percent:.1f}%)"


def build(obj: object, depth: int, include: Iterable[str], name: str) -> SizeTree:
    if not isinstance(depth, int) or not 0 <= depth <= _MOST_DEPTH:
        raise ArgumentError(f"depth={depth!r}: must be a number from 0 to {_MOST_DEPTH}")
    return SizeTree(name, "", _native.size_tree(obj, depth, include))


def _joined(name: str, label: str) -> str:
    return f"{name} {label}" if label.startswith("<") else name + label


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
