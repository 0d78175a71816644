"""Grows until the limit on its own address space refuses more, and ends with the exception."""

import resource

LIMIT = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


def hold():
    return bytes(16 << 20)


def grow():
    kept = []
    while True:
        kept.append(hold())


grow()
