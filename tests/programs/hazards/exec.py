"""Replaces itself by another program, which keeps the process id."""
import os
import sys

block = bytes(5_000_000)
print("before", flush=True)
os.execv(sys.executable, [sys.executable, "-c", "print('after'); import sys; sys.exit(6)"])
