"""Runs one command and says what it cost: CPU time of its whole process tree, wall time, largest resident set."""

import ctypes
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36
CHILD = pathlib.Path(__file__).resolve().with_name("child.py")

#: A run that takes longer counts as failed.
TIME_LIMIT_S = 600


@dataclasses.dataclass
class Cost:
    cpu_s: float
    wall_s: float
    rss_bytes: int
    capture_bytes: int = 0


class Failed(Exception):
    """The command did not end with status 0; carries what it wrote."""


def adopt_orphans():
    """Makes this process the parent of orphaned descendants, so that a tool cannot hide CPU time in a daemon."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command, folder):
    """Runs `command` in `folder` and waits for all that it started.

    The largest resident set is that of the largest process of the tree, not their sum (getrusage(2)).
    """
    log = folder / "output.log"
    reader, writer = os.pipe()
    with open(log, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", CHILD, str(writer), *command],
            cwd=folder,
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(writer)
        wait(child)
    with open(reader, encoding="ascii") as pipe:
        answer = pipe.read().split()
    if len(answer) != 4 or answer[0] != "0":
        raise Failed(f"exit status {answer[0] if answer else 'unknown'}: {last_line(log)}")
    cost = Cost(float(answer[1]), float(answer[2]), int(answer[3]))
    add_orphans(cost)
    return cost


def wait(child):
    try:
        child.wait(TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise Failed(f"took longer than {TIME_LIMIT_S} s") from None


def add_orphans(cost):
    """Adds what was left behind by the command and reparented to us."""
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return
        cost.cpu_s += usage.ru_utime + usage.ru_stime
        cost.rss_bytes = max(cost.rss_bytes, usage.ru_maxrss * 1024)


def last_line(log):
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
