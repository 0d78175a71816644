"""The whole heap: paths, retained sizes, cycles, differences, files, and the walk in a forked child."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import memlens
import pytest

APP = {"sessions": {"u1": {"rows": [bytes(10_000) + bytes([i]) for i in range(10)]}}}


class Holder:
    pass


@pytest.fixture(params=[False, True], ids=["inside", "forked"])
def fork(request):
    return request.param


def test_a_path_is_pasted(fork):
    paths = memlens.snapshot(fork=fork).why(APP["sessions"]["u1"]["rows"][3], 10)
    path = next(path for path in paths if path.startswith("test_snapshot.APP"))
    assert path == "test_snapshot.APP['sessions']['u1']['rows'][3]"
    assert eval(path, {"test_snapshot": sys.modules[__name__]}) is APP["sessions"]["u1"]["rows"][3]


def test_a_local_variable_is_named(fork):
    local_rows = [[bytes(5_000)]]
    paths = memlens.snapshot(fork=fork).why(local_rows[0], 10)
    assert any("test_a_local_variable_is_named:" in path and path.endswith("local local_rows[0]") for path in paths)


def line_of_caller():
    return sys._getframe(1).f_lineno


def test_a_frame_is_named_with_its_line(fork):
    local_rows = [[bytes(5_000)]]

    def inside():
        return line_of_caller(), memlens.snapshot(fork=fork)

    (line, snapshot), outer_line = inside(), line_of_caller()
    paths = snapshot.why(local_rows, 10)
    name = "test_a_frame_is_named_with_its_line"
    assert [path for path in paths if path.startswith(f"{name}:{outer_line} ") or path == f"{name}:{outer_line} local local_rows"]
    inner = snapshot.why(inside, 10)
    assert any(path.startswith(f"{name}:{outer_line} local inside") for path in inner)
    assert line == inside.__code__.co_firstlineno + 1


class Waiting:
    def __await__(self):
        innermost = bytearray(7_000)
        yield innermost


async def coroutine():
    in_coroutine = bytearray(6_000)
    await Waiting()
    return in_coroutine


def generator():
    in_generator = bytearray(5_000)
    yield in_generator


async def asynchronous_generator():
    in_asynchronous = bytearray(4_000)
    yield in_asynchronous


def test_a_suspended_frame_s_variables_are_named(fork):
    APP["generator"], APP["coroutine"], APP["agen"] = generator(), coroutine(), asynchronous_generator()
    try:
        value = next(APP["generator"])
        innermost = APP["coroutine"].send(None)
        with pytest.raises(StopIteration) as stopped:
            APP["agen"].asend(None).send(None)
        snapshot = memlens.snapshot(fork=fork)
        frame = "" if sys.version_info >= (3, 11) else ".gi_frame"
        assert f"test_snapshot.APP['generator']{frame} local in_generator" in snapshot.why(value, 10)
        frame = "" if sys.version_info >= (3, 11) else ".ag_frame"
        assert f"test_snapshot.APP['agen']{frame} local in_asynchronous" in snapshot.why(stopped.value.value, 10)
        if sys.version_info >= (3, 11):
            assert "test_snapshot.APP['coroutine'].cr_await local innermost" in snapshot.why(innermost, 10)
            tree = memlens.size_tree(APP["coroutine"])
            assert tree[" local in_coroutine"].deep == memlens.sizeof(bytearray(6_000))
            assert tree[".cr_await"][" local innermost"].deep == memlens.sizeof(bytearray(7_000))
    finally:
        for name in ("generator", "coroutine", "agen"):
            APP.pop(name, None)


def test_a_traceback_s_variables_are_named(fork):
    def fail():
        in_traceback = bytearray(8_000)
        raise ValueError(len(in_traceback))

    try:
        fail()
    except ValueError as error:
        APP["error"] = error
    try:
        kept = APP["error"].__traceback__.tb_next.tb_frame.f_locals["in_traceback"]
        paths = memlens.snapshot(fork=fork).why(kept, 10)
        assert any(".tb_frame local in_traceback" in path for path in paths), paths
    finally:
        del APP["error"]


def test_another_threads_variable_is_named(fork):
    ready, done = threading.Event(), threading.Event()
    made = []

    def work():
        local_rows = [[bytes(5_000)]]
        made.append(id(local_rows[0]))
        ready.set()
        done.wait()
        return local_rows

    thread = threading.Thread(target=work, name="worker-7")
    thread.start()
    try:
        ready.wait()
        snapshot = memlens.snapshot(fork=fork)
    finally:
        done.set()
        thread.join()
    paths, _ = snapshot._heap.why(made[0], 10)
    assert any("(thread worker-7) local local_rows[0]" in path for path in paths)


def test_attributes_are_named(fork):
    holder = Holder()
    holder.cache = {"k": [bytes(5_000)]}
    Holder.everyone = [holder]
    try:
        path = memlens.snapshot(fork=fork).why(holder.cache["k"])
        assert any(text.endswith(".cache['k']") for text in path)
    finally:
        del Holder.everyone


def test_retained_is_what_goes(fork):
    APP["cache"] = [bytes(1000 + i) for i in range(100)]
    try:
        snapshot = memlens.snapshot(fork=fork)
        assert snapshot.retained(APP["cache"]) == memlens.sizeof(APP["cache"])
        assert any(row.address == id(APP["cache"]) for row in snapshot.top(200))
    finally:
        del APP["cache"]


def test_an_unknown_object_is_refused(fork):
    snapshot = memlens.snapshot(fork=fork)
    with pytest.raises(memlens.UnknownObjectError, match="no int at 0x"):
        snapshot.retained(5)


def test_cycles_with_remarks(fork):
    class Finalized:
        def __del__(self):
            pass

    gc.collect()
    gc.disable()
    try:
        thing = Finalized()
        thing.me = [thing, bytes(30_000)]
        reference = weakref.ref(thing, lambda _: None)
        address = id(thing)
        del thing
        cycles = memlens.snapshot(fork=fork).cycles()
        found = [cycle for cycle in cycles if address in cycle.addresses]
        assert [cycle.remarks for cycle in found] == [["unreachable", "__del__", "weakref callback"]]
        assert ".me[0]" in found[0].way
        assert reference() is not None
    finally:
        gc.enable()
        gc.collect()


def test_a_cycle_through_an_object_array_is_never_collected(fork):
    np = pytest.importorskip("numpy")
    holder = Holder()
    holder.items = np.array([holder, None], dtype=object)
    address = id(holder)
    items = holder.items
    del holder
    try:
        cycles = memlens.snapshot(fork=fork).cycles()
        found = [cycle for cycle in cycles if address in cycle.addresses]
        assert ["never collected" in cycle.remarks for cycle in found] == [True]
    finally:
        items[0] = None


def test_a_difference(fork):
    before = memlens.snapshot(fork=fork)
    APP["more"] = [bytes(2000 + i) for i in range(500)]
    try:
        diff = memlens.snapshot(fork=fork).diff(before)
        new = {change.type: change.new for change in diff.types}["bytes"]
        assert new.objects >= 500 and new.bytes >= 1_000_000
        # The new list may have got the address of an old one, and then counts as that.
        assert any("test_snapshot.APP" in growth.path and growth.bytes > 1_000_000 for growth in diff.holders)
    finally:
        del APP["more"]


def test_duplicates_and_sparse():
    np = pytest.importorskip("numpy")
    text = "a text that stands here %d times"
    APP["texts"] = [text % 50_000 for _ in range(50)]
    APP["list"] = list(range(100_000))
    del APP["list"][10:]
    APP["list"].extend([1] * 40_000)
    del APP["list"][10_000:]
    APP["column"] = np.arange(100_000) % 100 * 1.0
    try:
        snapshot = memlens.snapshot()
        addresses = {id(text) for text in APP["texts"]}
        group = [group for group in snapshot.duplicates() if addresses <= set(group.addresses)]
        assert len(group) == 1 and group[0].wasted >= 49 * group[0].each
        findings = {row.address: row for row in snapshot.sparse()}
        assert findings[id(APP["column"])].finding == "every value fits int8"
        assert findings[id(APP["column"])].saved == 700_000
    finally:
        for name in ("texts", "list", "column"):
            del APP[name]


def test_by_type_and_by_module(fork):
    APP["mine"] = [bytes(3000 + i) for i in range(1000)]
    try:
        snapshot = memlens.snapshot(fork=fork)
        by_type = {row.type: row for row in snapshot.by_type()}
        assert by_type["bytes"].bytes > 3_000_000
        modules = {row.module: row for row in snapshot.by_module()}
        assert modules[__name__].bytes > 3_000_000
    finally:
        del APP["mine"]


def test_suspects(fork):
    APP["big"] = [bytes(400) for _ in range(200_000)]
    try:
        suspects = memlens.snapshot(fork=fork).suspects()
        assert suspects[0].gathers_at.address == id(APP["big"])
        assert suspects[0].children[0][0] == "bytes"
    finally:
        del APP["big"]


def test_a_file(tmp_path, fork):
    path = tmp_path / "heap.mlheap"
    snapshot = memlens.snapshot(fork=fork)
    snapshot.save(path)
    loaded = memlens.load(path)
    assert len(loaded) == len(snapshot)
    assert loaded.by_type() == snapshot.by_type()
    assert loaded.why(APP)[0] == snapshot.why(APP)[0]
    assert path.stat().st_size < snapshot.coverage().bytes / 3


def test_a_file_is_not_overwritten(tmp_path):
    path = tmp_path / "heap.mlheap"
    path.write_text("precious")
    snapshot = memlens.snapshot()
    with pytest.raises(memlens.FileError, match="heap.mlheap"):
        snapshot.save(path)
    assert path.read_text() == "precious"
    snapshot.save(path, force=True)
    assert len(memlens.load(path)) == len(snapshot)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"MLENSHEP" + bytes(100)])
def test_a_bad_file_is_refused(tmp_path, content):
    path = tmp_path / "bad.mlheap"
    path.write_bytes(content)
    with pytest.raises(memlens.FileError, match="bad.mlheap"):
        memlens.load(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "heap.mlheap"
    memlens.snapshot().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(memlens.FileError, match="damaged"):
        memlens.load(path)
    with pytest.raises(memlens.FileError, match="missing.mlheap"):
        memlens.load(tmp_path / "missing.mlheap")


def test_most_of_what_is_traced_is_explained():
    code = (
        "import tracemalloc, sys, json, argparse, collections, memlens\n"
        "rows = [{'a': i, 'b': str(i)} for i in range(300_000)]\n"
        "traced = tracemalloc.get_traced_memory()[0]\n"
        "print(memlens.snapshot().coverage().bytes, traced)"
    )
    run = [sys.executable, "-X", "tracemalloc=1", "-c", code]
    explained, traced = map(int, subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout.split())
    assert 0.95 * traced < explained < 1.05 * traced


@pytest.mark.parametrize("fork", [False, True])
def test_coverage_is_held_against_what_the_allocators_count(fork):
    code = (
        "import sys, json, argparse, collections, memlens\n"
        f"before = memlens.snapshot(fork={fork}).coverage()\n"
        "rows = [{'a': i, 'b': str(i)} for i in range(300_000)]\n"
        "large = bytes(50_000_000)\n"
        f"after = memlens.snapshot(fork={fork}).coverage()\n"
        "row = rows[-1]\n"
        "blocks = [sys.getsizeof(row) - 64, *map(sys.getsizeof, row.values())]  # The dict itself takes 64 with its header.\n"
        "rounding = len(rows) * sum(-block % 16 for block in blocks)\n"
        "print(after.bytes - before.bytes, after.heap - before.heap, after.bytes, after.heap, rounding)"
    )
    output = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    grown, grown_heap, explained, heap, rounding = map(int, output.split())
    assert grown > 70_000_000
    # The allocators count a small block as the next multiple of 16.
    assert 0.98 < (grown + rounding) / grown_heap < 1.01
    assert 0.97 < (explained + rounding) / heap < 1.01


def test_the_program_s_children_are_its_own(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(7)"])
    memlens.snapshot(fork=True)
    assert child.wait() == 7
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_snapshot_says_what_it_is():
    snapshot = memlens.snapshot()
    assert repr(snapshot).startswith("<Snapshot of ")
    assert all(len(line) <= 80 for line in str(snapshot).splitlines())
    with pytest.raises(memlens.ArgumentError):
        snapshot.diff("yesterday")
    with pytest.raises(memlens.ArgumentError):
        snapshot.top(0)
