"""What the programs of this folder allocate: known numbers of blocks, and code without end."""

ONE_BYTE = b"x"


def block():
    return ONE_BYTE * 1000


def hold():
    return [block() for _ in range(5000)]


def function(number):
    """A function that was never there before, called once: for each the recorder's tables grow."""
    names = {}
    exec(f"def made_{number}():\n    return [{number}] * 100\n\n\nmade_{number}()", names)
    return names
