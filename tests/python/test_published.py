"""What guppy3 publishes about the relations of real Python objects, and PyHeap about what a dump must show.

guppy3 3.1.7, `guppy/heapy/test/`: `test_Path.py` (RelationTestCase, RootTestCase), `test_View.py`, `test_heapyc.py`,
`test_RefPat.py`; PyHeap at 469d206, `integration_tests/`. The objects are made anew here. Where memlens names something
otherwise, the test says so; docs/heap.md has the list. Graphs without objects are in
`crates/memlens-heap/tests/published.rs`.
"""

import gc
import sys
import threading
import types

import memlens
import pytest

#: What a test asks about, so that its paths begin here.
HELD = {}
SOURCE = "test_published.HELD['source']"


@pytest.fixture(autouse=True)
def empty_afterwards():
    yield
    HELD.clear()


def relations(source, target, *expected):
    """Ways from the source to the target, shortest first: enough of them to have the expected ones."""
    HELD["source"] = source
    snapshot = memlens.snapshot()
    for count in (8, 16, 32, 64):
        found = [path[len(SOURCE) :] for path in snapshot.why(target, count) if path.startswith(SOURCE)]
        if found and set(expected) <= set(found):
            break
    return found


def relation(source, target):
    """The shortest way."""
    return relations(source, target)[0]


class Thing:
    """Something that can be referred to by everybody."""


def test_cell_relation():
    value = Thing()

    def closure():
        return value

    assert relation(closure.__closure__[0], value) == ".cell_contents"


def test_code_relation():
    source = "def named_so_only_here(x, y=3): return x, y, 1_000_000, called_so_only_here"
    consts = compile(source, "a file of its own.py", "exec").co_consts
    code = next(const for const in consts if isinstance(const, types.CodeType))
    attributes = ["co_consts", "co_names", "co_filename", "co_name"]
    attributes += ["co_code", "co_varnames"] if sys.version_info < (3, 11) else ["co_linetable"]
    for attribute in attributes:
        way = f".{attribute}"
        assert way in relations(code, getattr(code, attribute), way)
    at = code.co_consts.index(1_000_000)
    assert relation(code, code.co_consts[at]) == f".co_consts[{at}]"


def test_dict_relation():
    first, second, long_key = Thing(), Thing(), tuple(range(1000, 1100))
    mapping = {"k1": first, "k2": second, long_key: Thing()}
    assert relation(mapping, first) == "['k1']"
    assert relation(mapping, second) == "['k2']"
    # guppy: six items and three dots.
    assert relation(mapping, mapping[long_key]) == "[(1000, 1001, 1002, 1003, 1004, 1005, …)]"
    # guppy: keys()[2].
    assert relation(mapping, long_key) == "<key (1000, 1001, 1002, 1003, 1004, 1005, …)>"


def test_dictproxy_relation():
    class Class:
        key = Thing()

    # guppy: ->mapping['key']. Python has no name for a proxy's mapping.
    assert relation(Class.__dict__, Class.key) == "<C field>['key']"


def ended_frame():
    """The frame of a call that has failed, the object in a variable of it, and a function that closes over another one."""

    def fails(x, y=3):
        local, closed = Thing(), Thing()

        def inner():
            return closed

        raise ValueError(local, inner)

    try:
        fails(Thing())
    except ValueError as error:
        return (error.__traceback__.tb_next.tb_frame, *error.args)


def test_frame_relation():
    frame, local, inner = ended_frame()
    frame.f_trace = trace = Thing()
    assert relation(frame, trace) == ".f_trace"
    assert relation(frame, frame.f_code) == ".f_code"
    # guppy: .f_locals['local'] for all three.
    assert relation(frame, local) == " local local"
    closed = inner()
    way = " local closed.cell_contents"
    assert way in relations(frame, closed, way)
    if sys.version_info < (3, 13):
        assert relation(frame, frame.f_locals) == ".f_locals"
    globals_ = {}
    exec("def outer():\n    inner = sys_._getframe()\n    return inner", globals_, globals_)
    globals_["sys_"] = sys
    frame = globals_.pop("outer")()
    # Since 3.11 a frame holds its function, and that its globals.
    way = ".f_globals" if sys.version_info < (3, 11) else "<C field>.__globals__"
    assert way in relations(frame, globals_, way)


def test_function_relation():
    globals_ = {}
    exec("def named_so_only_there(x, y=3, *, z=4): 'A text of its own.'", globals_)
    function = globals_.pop("named_so_only_there")
    function.a = Thing()
    HELD["more"] = closed = Thing()

    def closure():
        return closed

    for attribute in ["__code__", "__globals__", "__defaults__", "__kwdefaults__", "__name__", "__doc__", "__dict__", "a"]:
        assert relation(function, getattr(function, attribute)) == f".{attribute}"
    assert relation(closure, closure.__closure__) == ".__closure__"


def test_instancemethod_relation():
    class Class:
        def method(self):
            pass

    instance = Class()
    assert relation(instance.method, instance) == ".__self__"
    assert relation(instance.method, Class.method) == ".__func__"


def test_meth_relation():
    things = []
    assert relation(things.append, things) == ".__self__"


def test_list_and_tuple_relation():
    things = [Thing(), Thing(), list(range(100, 200))]
    for sequence in (things, tuple(things)):
        for index, thing in enumerate(things):
            assert relation(sequence, thing) == f"[{index}]"


def test_set_relation():
    things = {Thing()}
    # guppy: list(…)[0].
    assert relation(things, next(iter(things))) == "<member>"


def test_module_relation():
    module = types.ModuleType("made")
    module.Case = Thing()
    assert relation(module, module.__dict__) == ".__dict__"
    assert relation(module, module.Case) == ".Case"


class Slotted:
    __slots__ = "a", "b"


class Derived(Slotted):
    pass


class More(Derived):
    __slots__ = "c", "d"


class Other:
    in_other = Thing()


class Both(Other, Slotted):
    in_both = Thing()


def test_object_relation():
    slotted = Slotted()
    slotted.a, slotted.b = Thing(), Thing()
    # guppy: ->ob_type.
    assert relation(slotted, Slotted) == ".__class__"
    assert [relation(slotted, slotted.a), relation(slotted, slotted.b)] == [".a", ".b"]
    derived = Derived()
    derived.a, derived.c = Thing(), Thing()
    assert ".__class__.__base__" in relations(derived, Slotted, ".__class__.__base__")
    assert [relation(derived, derived.a), relation(derived, derived.c)] == [".a", ".c"]
    assert relation(derived, derived.__dict__) == ".__dict__"
    assert relation(derived, derived.c) == ".c"
    more = More()
    for name in "abcde":
        setattr(more, name, Thing())
        # guppy: .__dict__['e'], which is .e in Python.
        assert relation(more, getattr(more, name)) == f".{name}"


def test_object_relation_through_its_classes():
    both = Both()
    assert relation(both, Both.in_both) == ".__class__.in_both"
    ways = {".__class__.__mro__[1].in_other", ".__class__.__bases__[0].in_other"}
    assert ways <= set(relations(both, Other.in_other, *ways))
    way = ".__class__.__base__.__slots__"
    assert way in relations(both, Slotted.__slots__, way)


def test_type_relation():
    class_ = type("Made", (Thing,), {"__slots__": ("first", "second")})
    # guppy: .__dict__['first'].
    assert relation(class_, class_.first) == ".first"
    assert relation(class_, class_.__slots__) == ".__slots__"
    for attribute in ("__mro__", "__bases__"):
        assert relation(class_, getattr(class_, attribute)) == f".{attribute}"
    ways = {".__base__", ".__bases__[0]", ".__mro__[1]"}
    assert ways <= set(relations(class_, Thing, *ways))


def test_traceback_relation():
    def fails():
        raise ValueError

    try:
        fails()
    except ValueError as error:
        traceback = error.__traceback__
    assert relation(traceback, traceback.tb_next) == ".tb_next"
    assert relation(traceback.tb_next, traceback.tb_next.tb_frame) == ".tb_frame"


def test_root():
    """guppy: Root.i0_modules, .i0_sysdict, .i0_builtins. Here a module stands first, since Python can name it."""
    snapshot = memlens.snapshot()
    assert "sys.modules" in snapshot.why(sys.modules, 9)
    assert "sys.__dict__" in snapshot.why(sys.__dict__, 9)
    assert "builtins.__dict__" in snapshot.why(__builtins__, 9)
    assert "gc.callbacks" in snapshot.why(gc.callbacks, 9)


def test_a_thread_s_exception_has_a_path_to_its_frame():
    """RootTestCase.test_thread: the exception that another thread handles, and a local variable beside it."""
    ready, done, made = threading.Event(), threading.Event(), []

    def work():
        beside = [Thing()]
        try:
            raise ValueError("handled in the thread")
        except ValueError as error:
            made.extend([id(error), id(beside[0])])
            ready.set()
            done.wait()

    thread = threading.Thread(target=work, name="guppy-task")
    thread.start()
    try:
        ready.wait()
        snapshot = memlens.snapshot()
    finally:
        done.set()
        thread.join()
    for address, name in zip(made, ["error", "beside[0]"]):
        paths, _ = snapshot._heap.why(address, 9)
        assert any(path.endswith(f"(thread guppy-task) local {name}") for path in paths), paths


def test_dominos():
    """test_View.py: what goes with an object, before and after `del y`. The sizes are those of the lists themselves."""
    x = []
    y = [x, []]
    HELD["z"] = z = [y]
    own = {name: memlens.size_tree(thing).shallow for name, thing in {"x": x, "y": y, "z": z}.items()}
    snapshot = memlens.snapshot()
    assert snapshot.retained(y) == own["y"] + own["x"]
    assert snapshot.retained(z) == own["z"]
    del y
    assert memlens.snapshot().retained(z) == own["z"] + own["y"] + own["x"]
    del x
    assert memlens.snapshot().retained(z) == own["z"] + own["y"] + 2 * own["x"] == memlens.sizeof(z)


def test_relations_of_types_that_inherit():
    """test_heapyc.py, test_inheritance_from_special_types: slots of two classes, the class, and sizes."""

    class Inherits(list):
        __slots__ = ("t",)

    class Again(Inherits):
        __slots__ = ("u",)

    things = Again(Thing() for _ in range(16))
    things.t, things.u = Thing(), Thing()
    assert [relation(things, things.t), relation(things, things.u)] == [".t", ".u"]
    assert relation(things, Again) == ".__class__"
    sizes = [memlens.size_tree(made).shallow for made in (list(range(16)), Inherits(range(16)), Again(range(16)))]
    assert sizes == sorted(set(sizes))


def test_reference_pattern_of_mixed_types():
    """test_RefPat.py: an object that an instance and a dict hold."""
    target, instance = Thing(), Thing()
    instance.target = target
    HELD["source"] = (instance, {"target": target})
    ways = {"[0].target", "[1]['target']"}
    assert ways <= set(relations(HELD["source"], target, *ways))


def test_containers_that_hold_themselves():
    """PyHeap, integration_tests/resources/mock_inferior.py: a dict and a list in themselves."""
    mapping, sequence = {}, ["x"]
    mapping["x"] = mapping
    sequence.append(sequence)
    ways = {tuple(cycle.addresses): cycle.way for cycle in memlens.snapshot().cycles()}
    assert ways[(id(mapping),)] == "<dict>['x']"
    assert ways[(id(sequence),)] == "<list>[1]"


def test_what_forbids_everything_is_seen():
    """PyHeap, the same: a class each of whose special methods raises."""

    def error(*arguments, **named):
        raise ValueError("prohibited")

    names = "dir str repr eq ge gt getattribute hash le lt ne setattr sizeof".split()
    class_ = type("Disabled", (), {f"__{name}__": error for name in names})
    disabled = class_.__new__(class_)
    assert relation([disabled], disabled) == "[0]"
    # PyHeap says 0 bytes, for it asks __sizeof__.
    assert memlens.snapshot().retained(disabled) == memlens.sizeof(disabled) >= 16


def test_locals_of_every_frame():
    """PyHeap, integration_tests/test_dumper.py: three calls deep, each with its own variables."""
    found = []

    def function3(a):
        deepest = [Thing()]
        found.append((memlens.snapshot(), deepest[0], a))

    def function2(a, b):
        function3(a)

    def function1(a, b, c):
        function2(a, b)

    first, second, third = Thing(), Thing(), Thing()
    function1(first, second, third)
    snapshot, deepest, a = found[0]

    def frames(thing):
        texts = (path.split(" local ") for path in snapshot.why(thing, 20) if " local " in path)
        return {(frame.split(":")[0].split(".")[-1], rest) for frame, rest in texts}

    assert ("function3", "deepest[0]") in frames(deepest)
    assert {("function3", "a"), ("function2", "a"), ("function1", "a")} <= frames(a)
    assert {("function2", "b"), ("function1", "b")} <= frames(second)
    assert ("function1", "c") in frames(third)
