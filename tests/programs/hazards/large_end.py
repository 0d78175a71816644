"""Holds half a gigabyte of small pages when it ends, which the kernel takes a while to take back."""
import mmap
import os
import sys

held = mmap.mmap(-1, 512 << 20)
if hasattr(held, "madvise"):
    held.madvise(mmap.MADV_NOHUGEPAGE)
for start in range(0, len(held), mmap.PAGESIZE):
    held[start] = 1
print("done")
sys.stdout.flush()
os._exit(0)
