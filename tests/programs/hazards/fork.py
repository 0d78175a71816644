"""Forks; the child allocates, changes what it inherited, and leaves. None of that is the parent's."""
import os
import sys


def in_child():
    return [bytes(1_000_000 + number) for number in range(20)]


def in_parent():
    return bytes(7_000_000)


inherited = [str(number) for number in range(10_000)]
child = os.fork()
if child == 0:
    inherited.clear()
    in_child()
    os._exit(3)
_, status = os.waitpid(child, 0)
kept = in_parent()
print("child", os.WEXITSTATUS(status))
sys.exit(5)
