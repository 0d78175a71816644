from collections.abc import Iterable

def sizeof(*objects: object, include: Iterable[str] = ()) -> int:
    """Deep size in bytes of the objects together, each object and buffer once."""
