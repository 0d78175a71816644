"""C extensions whose ``tp_traverse`` is wrong: a walk survives what it shows, and a forked child takes the crash."""

import faulthandler
import importlib.util
import subprocess
import sysconfig
from pathlib import Path

import memlens
import pytest

HEADERS = Path(sysconfig.get_paths()["include"])
NOTHING, TWICE, NULLS, NEIGHBOURS, RELEASED, NO_OBJECT, CRASH = range(7)
CONTENT = 100_000

pytestmark = pytest.mark.skipif(not (HEADERS / "Python.h").exists(), reason="this CPython came without its headers")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that makes an instance: what is wrong, what it holds, the length of a bytes object that it shows though it was released."""
    library = tmp_path_factory.mktemp("extension") / "broken_traverse.so"
    source = Path(__file__).with_suffix("").with_name("broken_traverse.c")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{HEADERS}", source, "-o", library], check=True, timeout=60)
    spec = importlib.util.spec_from_file_location("broken_traverse", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make


@pytest.mark.parametrize("wrong", [TWICE, NULLS, NEIGHBOURS, RELEASED, NO_OBJECT])
# A smaller block may be in use again, by an object that nothing tells from one that belongs there.
@pytest.mark.parametrize("released", [1000, 1_000_000])
def test_what_it_shows_is_looked_at_first(make, wrong, released):
    held = [make(wrong, bytes(CONTENT), released)]
    assert CONTENT < memlens.sizeof(held) < CONTENT + 500
    assert memlens.size_tree(held).deep == memlens.sizeof(held)
    for fork in (False, True):
        assert memlens.snapshot(fork=fork).retained(held) == memlens.sizeof(held)


def test_what_it_does_not_show_is_held_by_c(make):
    # Large enough to be among the first.
    content = [bytes(50_000_000)]
    held = [make(NOTHING, content, 10)]
    address = id(content[0])
    del content
    assert memlens.sizeof(held) < 500
    snapshot = memlens.snapshot()
    assert snapshot.retained(held) < 500
    paths = [item.path for item in snapshot.top(10) if item.address == address]
    assert len(paths) == 1 and "held by C" in paths[0]


def test_a_crash_is_the_forked_childs(make):
    held = [make(CRASH, None, 10)]
    faulthandler.disable()
    try:
        with pytest.raises(memlens.Error, match="child ended without an answer"):
            memlens.snapshot(fork=True)
    finally:
        faulthandler.enable()
    assert len(held) == 1
