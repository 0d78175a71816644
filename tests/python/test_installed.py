"""One installation gives the module, the command and the agent that the command finds."""

import subprocess
import sys
from pathlib import Path

import memlens

COMMAND = Path(sys.executable).parent / "memlens"


def test_the_command_records(tmp_path):
    capture = tmp_path / "x.mlens"
    code = "rows = [bytes(1000) for _ in range(1000)]"
    run = [str(COMMAND), "run", "-o", str(capture), "--python", sys.executable, "-c", code]
    done = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    assert capture.stat().st_size > 0


def test_the_command_reads_a_snapshot(tmp_path):
    path = tmp_path / "heap.mlheap"
    memlens.snapshot().save(path)
    done = subprocess.run([str(COMMAND), "heap", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    assert b"MiB" in done.stdout
