"""Grows until the limit on its data refuses more, and ends with the exception."""

import resource

LIMIT = 256 << 20
resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


def hold():
    return bytes(8 << 20)


kept = []
while True:
    kept.append(hold())
