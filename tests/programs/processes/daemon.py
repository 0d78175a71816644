"""A daemon, forked twice so that it is nobody's child. It works when its parent has gone, and the program ends after it."""
import json
import os

from worker import work

reader, writer = os.pipe()
orphaned_reader, orphaned_writer = os.pipe()
middle = os.fork()
if middle == 0:
    os.setsid()
    parent = os.getpid()
    # A process without an event has no recording, and its children count as those of who forked it: CPython 3.14 gets as far as this without one.
    kept = bytes(1000)
    if os.fork() == 0:
        os.close(orphaned_writer)
        os.read(orphaned_reader, 1)
        pid, _, size = work()
        os.write(writer, json.dumps([pid, parent, size]).encode())
    os._exit(0)
os.close(writer)
os.waitpid(middle, 0)
os.close(orphaned_writer)
with os.fdopen(reader) as pipe:
    print(json.dumps([json.loads(pipe.read())]))
