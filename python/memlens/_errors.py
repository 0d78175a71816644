"""What memlens raises: subclasses of one class, each also the built-in exception that fits."""


class Error(Exception):
    """Every error of memlens."""


class ArgumentError(Error, ValueError):
    """An argument that cannot be right."""


class UnknownObjectError(Error, LookupError):
    """An object that is not in the snapshot: made after it, or left out by rule."""


class FileError(Error, OSError):
    """A snapshot's file that cannot be read or written."""


class UnsupportedError(Error, ImportError):
    """An interpreter whose objects memlens cannot read."""
