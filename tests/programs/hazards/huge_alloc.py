"""Asks for more than there is; goes on."""


def ask():
    failures = 0
    for size in (2**62, 2**60, 2**55):
        try:
            bytes(size)
        except MemoryError:
            failures += 1
        try:
            [None] * (size // 8)
        except MemoryError:
            failures += 1
    return failures


def kept_to_the_end():
    return bytes(1_234_567)


print(ask())
kept = kept_to_the_end()
