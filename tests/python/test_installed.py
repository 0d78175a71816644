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


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_its_version_is_the_command_s():
    done = subprocess.run([str(COMMAND), "--version"], stdout=subprocess.PIPE)
    assert done.stdout.decode().split() == ["memlens", memlens.__version__]


def test_isolated():
    done = run("-I", "-c", "import memlens; print(memlens.sizeof([1.5]))")
    assert done.stdout.strip() == str(memlens.sizeof([1.5])), done.stdout


IN_ANOTHER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import memlens
interpreters.run_string(interpreters.create(), '''
try:
    import memlens
except ImportError as error:
    print(error, flush=True)
else:
    print(memlens.sizeof([1.5]), flush=True)
''')
"""


def test_another_interpreter_of_the_process_has_it_or_is_refused():
    # Since 3.12 each may have a GIL of its own, which would not keep the objects of the others from changing.
    answer = "module memlens._native does not support loading in subinterpreters"
    done = run("-c", IN_ANOTHER)
    assert done.stdout.splitlines()[0] == (answer if sys.version_info >= (3, 12) else str(memlens.sizeof([1.5]))), done.stdout
