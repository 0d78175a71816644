"""Numbers as people read them, as the command line writes them."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
#: What rounds up to 1024 belongs to the next unit.
_NEXT_UNIT = 1023.5


def bytes_text(count: int) -> str:
    """``1023 B``, ``1.00 KiB``, ``95.4 MiB``: at most eight characters."""
    if count < 1024:
        return f"{count} B"
    value, unit = count / 1024, 0
    while value >= _NEXT_UNIT:
        value, unit = value / 1024, unit + 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def escaped(text: str) -> str:
    """The text as it stands in HTML."""
    for letter, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ('"', "&quot;")):
        text = text.replace(letter, name)
    return text
