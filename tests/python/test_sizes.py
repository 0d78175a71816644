"""What `sizeof` counts and leaves out, `size_tree`, and that neither changes anything."""

import array
import gc
import json
import subprocess
import sys
import threading
import tracemalloc

import memlens
import pytest


class Plain:
    def __init__(self, i):
        self.a = i
        self.b = i + 1


def test_each_object_once():
    inner = [bytes(1000)]
    assert memlens.sizeof(inner, inner, [inner]) == memlens.sizeof([inner])
    assert memlens.sizeof(inner, [inner]) - memlens.sizeof(inner) == sys.getsizeof([0])


def test_what_is_everybodys_is_left_out():
    for items in ([None, True, 5, "", (), b""], [sys, int, Plain, len, sys.intern("an interned text")]):
        assert memlens.sizeof(items) == sys.getsizeof(items)


def len_of_header():
    return sys.getsizeof("")


def test_include_counts_what_is_left_out():
    interned = sys.intern("an interned text of length %d" % 1000)
    assert memlens.sizeof([interned], include="interned") - memlens.sizeof([interned]) == len(interned) + len_of_header()
    assert memlens.sizeof([Plain], include=("classes",)) > memlens.sizeof([Plain]) + 1000
    assert memlens.sizeof(test_each_object_once, include=["code"]) > memlens.sizeof(test_each_object_once)
    assert memlens.sizeof([sys], include={"modules"}) > 10_000


def test_the_object_itself_counts_even_if_a_rule_leaves_it_out():
    assert memlens.sizeof(Plain) > 1000
    assert memlens.sizeof(sys) > 10_000


@pytest.mark.parametrize("arguments", [{"include": "everything"}, {"include": 5}, {"include": [5]}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(memlens.ArgumentError, match="include"):
        memlens.sizeof([], **arguments)


def test_a_wrong_depth_is_refused():
    for depth in (-1, 10**9, "3", None):
        with pytest.raises(memlens.Error, match="depth"):
            memlens.size_tree([], depth)


def test_weak_references_are_not_followed():
    import weakref

    big = Plain(bytes(100_000) and 5)
    big.data = bytes(100_000)
    assert memlens.sizeof([weakref.ref(big)]) < 500


def left_behind(act, objects):
    """Bytes that ten more calls leave allocated, when a few have filled what is kept for reuse. The figures lie in an array, so that they take no memory themselves."""
    figures = array.array("q", [0, 0, 0])
    gc.collect()
    tracemalloc.start()
    try:
        for at, count in enumerate((3, 1, 10)):
            for _ in range(count):
                act(objects)
            figures[at] = tracemalloc.get_traced_memory()[0]
        return figures[2] - figures[1]
    finally:
        tracemalloc.stop()


def test_nothing_is_left_behind():
    objects = [Plain(i + 1000) for i in range(100_000)]
    assert left_behind(lambda objects: memlens.sizeof(objects) and None, objects) == 0
    assert left_behind(lambda objects: memlens.size_tree(objects) and None, objects) == 0
    exact = memlens.sizeof(objects)
    assert memlens.sizeof(objects) == exact


def test_reference_counts_are_untouched():
    objects = [Plain(i + 1000) for i in range(100)]
    before = [sys.getrefcount(thing) for thing in objects]
    memlens.sizeof(objects)
    memlens.size_tree(objects, 5)
    assert [sys.getrefcount(thing) for thing in objects] == before


def test_no_code_of_the_program_runs():
    called = []

    def note(*arguments):
        called.append(arguments)
        raise RuntimeError("called")

    names = "__sizeof__ __getattr__ __getattribute__ __eq__ __hash__ __repr__ __len__ __iter__ __bool__ __del__"
    members = {name: note for name in names.split()}
    members["__class__"] = property(note)
    members["__slots__"] = ("data", "__dict__")
    hostile = type("Hostile", (), members)
    thing = object.__new__(hostile)
    object.__setattr__(thing, "data", bytes(10_000))
    object.__setattr__(thing, "more", bytes(20_000))
    assert 30_000 < memlens.sizeof([thing]) < 31_000
    assert "Hostile" in str(memlens.size_tree([thing]))
    assert called == []
    del hostile.__del__


@pytest.mark.parametrize("answer", [10**12, -5, "much", None])
def test_a_lying_sizeof_is_not_asked(answer):
    liar = type("Liar", (list,), {"__sizeof__": lambda self: answer})
    # Since 3.13 the first instance of a class has room for thirty attributes.
    assert memlens.sizeof(liar()) < 400


def test_a_borrowed_sizeof_does_no_harm():
    # A function of C, but of another type: it would refuse, or read what is not there.
    stranger = type("Stranger", (), {"__sizeof__": bytearray.__sizeof__})
    assert memlens.sizeof(stranger()) == memlens.sizeof(type("Other", (), {})())


def test_other_threads_change_the_heap_meanwhile():
    shared, stop = [], threading.Event()

    def churn():
        while not stop.is_set():
            shared.append({i: [i] for i in range(100)})
            if len(shared) > 100:
                shared.clear()

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        sizes = [memlens.sizeof(shared) for _ in range(100)]
        trees = [memlens.size_tree(shared).count for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert min(sizes) > 0 and min(trees) > 0


def test_no_depth_is_too_deep():
    inner = []
    for _ in range(300_000):
        inner = [inner]
    assert memlens.sizeof(inner) == 300_001 * memlens.sizeof([]) + 300_000 * 8
    assert memlens.size_tree(inner, 2).count == 300_001


def test_a_tree_names_its_parts():
    class App:
        pass

    app = App()
    app.cache = {"u1": bytes(10_000), 7: bytes(5_000), ("a", 2.5): bytes(4_000)}
    app.items = [bytes(3_000)]
    tree = memlens.size_tree(app, name="app")
    assert [child.name for child in tree] == ["app.cache", "app.items"]
    assert [child.label for child in tree[".cache"]][:3] == ["['u1']", "[7]", "[('a', 2.5)]"]
    assert tree[".cache"]["['u1']"].shallow == sys.getsizeof(app.cache["u1"])
    assert tree[".items"]["[0]"].name == "app.items[0]"
    assert tree.deep == memlens.sizeof(app)


def test_retained_is_what_would_go():
    class Node:
        def __init__(self, parent):
            self.parent = parent
            self.children = []
            self.data = bytearray(1000)

    root = Node(None)
    root.children = [Node(root) for _ in range(1000)]
    tree = memlens.size_tree(root.children[5])
    own = memlens.sizeof(root.children[5].data, root.children[5].children)
    assert tree.deep > 1_000_000
    assert own < tree.retained < own + 300


def test_shared_parts_are_not_retained():
    held = bytes(100_000)
    tree = memlens.size_tree([held, bytes(50_000)])
    assert tree.deep > 150_000
    assert 50_000 < tree.retained < 51_000
    assert tree["[0]"].retained > 100_000


def test_a_tree_as_json_html_and_text():
    tree = memlens.size_tree({"<b>": [bytes(1000)]})
    data = json.loads(tree.to_json())
    assert data["schema"] == "memlens.size_tree/1"
    assert data["deep"] == tree.deep
    assert data["children"][0]["name"] == "obj['<b>']"
    html = tree._repr_html_()
    assert "&lt;b&gt;" in html and "<b>" not in html and "100.0%" in html and ">pinned<" not in html
    assert all(len(line) <= 80 for line in str(tree).splitlines())


def test_the_import_brings_little():
    code = "import sys; before = set(sys.modules); import memlens; print(sorted(set(sys.modules) - before))"
    brought = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert set(eval(brought)) - {"__future__"} == {"memlens", "memlens._errors", "memlens._native"}


def test_a_free_threaded_interpreter_is_refused():
    code = "import sys; sys.version = '3.14.7 free-threading build'; import memlens"
    answer = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, universal_newlines=True)
    assert answer.returncode == 1
    last_line = answer.stderr.splitlines()[-1]
    assert last_line.startswith("memlens._errors.UnsupportedError: ") and "free-threaded" in last_line
