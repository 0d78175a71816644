"""Grows, touching what it has, until the kernel ends it: the test puts it in a control group with a limit of 256 MiB."""


def hold():
    return b"x" * (4 << 20)


def grow():
    kept = []
    while len(kept) < 1000:
        kept.append(hold())


grow()
