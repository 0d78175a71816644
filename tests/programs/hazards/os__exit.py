"""Leaves without any clean-up."""
import os


def kept_to_the_end():
    return bytes(3_000_000)


kept = kept_to_the_end()
os._exit(9)
