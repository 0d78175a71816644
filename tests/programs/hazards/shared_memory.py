"""Maps a file, shared memory and anonymous memory."""

import mmap
import tempfile
from multiprocessing.shared_memory import SharedMemory


def shared():
    return SharedMemory(create=True, size=5_000_000)


def mapped_file():
    # In the program's own folder: elsewhere may be a file system in memory.
    with tempfile.TemporaryFile(dir=".") as file:
        file.truncate(3_000_000)
        return mmap.mmap(file.fileno(), 3_000_000)


def anonymous():
    return mmap.mmap(-1, 7_000_000)


kept = shared(), mapped_file(), anonymous()
kept[0].close()
kept[0].unlink()
