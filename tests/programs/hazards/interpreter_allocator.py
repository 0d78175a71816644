"""Keeps 250 objects of 1000 bytes of content until the process ends at once, with whatever PYTHONMALLOC says."""

import os

blocks = [None] * 250


def kept():
    # Smaller numbers than 257 are there already.
    for index in range(250):
        blocks[index] = bytes(1000)


kept()
os._exit(0)
