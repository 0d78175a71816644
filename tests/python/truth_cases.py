"""Objects whose true size is known: each is built while tracemalloc and Arrow's pool count, or by arithmetic.

The scoreboard (`cargo xtask scoreboard`) and the tests measure the same cases. A case is a function that builds the object; what
is not there (a library, a version) leaves its cases out. Values are chosen so that no one else owns them: ints above 256, strings that
are computed.
"""

import array
import asyncio
import bz2
import collections
import contextlib
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import gc
import io
import itertools
import lzma
import mmap
import random
import sys
import tracemalloc
import types
import weakref
import zlib
from xml.etree import ElementTree

N = 10_000


class Plain:
    def __init__(self, i):
        self.a = i
        self.b = i + 1


class Many:
    def __init__(self, i):
        for name in "abcdefghijklmnopqrst":
            setattr(self, name, i)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, i):
        self.a = i
        self.b = i + 1


class SlotsChild(Slots):
    __slots__ = ("c",)

    def __init__(self, i):
        super().__init__(i)
        self.c = float(i)


class Mixed(Slots):
    def __init__(self, i):
        super().__init__(i)
        self.extra = float(i)


class ListChild(list):
    pass


class DictChild(dict):
    pass


class IntChild(int):
    pass


class StrChild(str):
    pass


class TupleChild(tuple):
    pass


class Node:
    def __init__(self, parent):
        self.parent = parent
        self.children = []
        self.data = bytearray(1000)


@dataclasses.dataclass
class Record:
    key: int
    value: float


Pair = collections.namedtuple("Pair", "first second")


def _many(make, count=N):
    return lambda: [make(i + 1000) for i in range(count)]


def nested(depth=100_000):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


def linked(count=50_000):
    head = None
    for i in range(count):
        head = (i + 1000, head)
    return head


def tree():
    root = Node(None)
    root.children = [Node(root) for _ in range(1000)]
    return root


def closure():
    big = bytearray(1_000_000)
    return lambda: big


def default_argument():
    return eval("lambda big=bytearray(1_000_000): big", {})


def generator():
    def run():
        big = bytearray(1_000_000)
        yield 1
        yield big

    running = run()
    next(running)
    return running


def coroutine():
    @types.coroutine
    def pause():
        yield

    async def run():
        big = [bytes(1000) for _ in range(1000)]
        await pause()
        return big

    running = run()
    running.send(None)
    return running


def async_generator():
    async def run():
        big = bytearray(1_000_000)
        yield 1
        yield big

    running = run()
    with contextlib.suppress(StopIteration):
        running.__anext__().send(None)
    return running


def exception():
    def fail():
        big = bytearray(1_000_000)
        raise ValueError(len(big))

    try:
        fail()
    except ValueError as error:
        return error


def chained_exception():
    try:
        try:
            big = bytearray(1_000_000)
            raise KeyError(len(big))
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        return error


def cached():
    @functools.lru_cache(maxsize=None)
    def make(i):
        return b"x" * (i % 7 + 1000)

    for i in range(1000):
        make(i + 1000)
    return make


def bounded_cache():
    @functools.lru_cache(maxsize=500)
    def make(i):
        return b"x" * (i % 7 + 1000)

    for i in range(1000):
        make(i + 1000)
    return make


def string_io():
    out = io.StringIO()
    for i in range(10_000):
        out.write("line %d of many that are written\n" % i)
    return out


def string_io_read():
    out = string_io()
    out.seek(10)
    return out


def bytes_io():
    out = io.BytesIO()
    for _ in range(1000):
        out.write(bytes(1000))
    return out


def elements():
    root = ElementTree.Element("root")
    for i in range(10_000):
        ElementTree.SubElement(root, "item", {"id": str(i + 1000)}).text = "text %d" % i
    return root


def weak_values():
    held = [Plain(i) for i in range(1000)]
    return [held, weakref.WeakValueDictionary(enumerate(held))]


class Base:
    """What is made below notes itself here, not with ``object``, whose table of subclasses may grow by 37 KB at that moment."""


def python_class():
    return type("Made", (Base,), {"table": [float(i) for i in range(50_000)]})


def module():
    made = types.ModuleType("made")
    made.table = [float(i) for i in range(50_000)]
    return made


def bound_method():
    return Node(None).__init__


def frame_locals():
    big = [float(i) for i in range(50_000)]
    return {"locals": locals(), "n": len(big)}


def shared_list():
    inner = [float(i) for i in range(N)]
    return [inner] * 1000


def cycle():
    items = [[float(i)] for i in range(N)]
    for item in items:
        item.append(items)
    return items


PYTHON = {
    "list of ints": _many(int.__index__),
    "list of floats": _many(float),
    "list of large ints": lambda: [10**1000 + i for i in range(N)],
    "list of complex numbers": _many(lambda i: complex(i, 1)),
    "list of short strings": _many(lambda i: "key %d" % i),
    "list of Latin-1 strings": _many(lambda i: "clé %d" % i),
    "list of UCS-2 strings": _many(lambda i: "€ %d" % i),
    "list of UCS-4 strings": _many(lambda i: "\U0001f600 %d" % i),
    "list of bytes": _many(lambda i: b"%d bytes" % i),
    "list of bytearrays": _many(lambda i: bytearray(i % 100 + 1)),
    "one long string": lambda: "x" * 1_000_000,
    "one bytes object": lambda: bytes(1_000_000),
    "one bytearray": lambda: bytearray(1_000_000),
    "list with room to spare": lambda: functools.reduce(lambda out, i: (out.append(float(i)), out)[1], range(N), []),
    "list of lists": _many(lambda i: [float(i)]),
    "list of tuples": _many(lambda i: (float(i), float(i))),
    "list of dicts": _many(lambda i: {"a": float(i), "b": "text %d" % i}),
    "list of sets": _many(lambda i: {float(i), i + 0.5}),
    "list of large sets": _many(lambda i: {float(j) for j in range(100)}, 100),
    "list of frozensets": _many(lambda i: frozenset({float(i), i + 0.5})),
    "one list a thousand times": shared_list,
    "lists in a cycle": cycle,
    "nested list, 100 000 deep": nested,
    "linked list of 50 000": linked,
    "dict of ints to floats": lambda: {i + 1000: float(i) for i in range(N)},
    "dict of strings to floats": lambda: {"key %d" % i: float(i) for i in range(N)},
    "dict after many deletions": lambda: (lambda d: ([d.pop(i) for i in range(9000)], d)[1])({i: float(i) for i in range(N)}),
    "dict of dicts": lambda: {i + 1000: {"x": float(i)} for i in range(N)},
    "set of floats": lambda: {float(i) for i in range(N)},
    "frozenset of floats": lambda: frozenset(float(i) for i in range(N)),
    "plain instances": _many(Plain),
    "instances with 20 attributes": _many(Many, 2000),
    "instances whose dict was taken": lambda: [(lambda p: (p.__dict__, p)[1])(Plain(i + 1000)) for i in range(N)],
    "instances with slots": _many(Slots),
    "instances with inherited slots": _many(SlotsChild),
    "instances with slots and a dict": _many(Mixed),
    "dataclass instances": _many(lambda i: Record(i, float(i))),
    "named tuples": _many(lambda i: Pair(float(i), float(i))),
    "subclass of list": _many(lambda i: ListChild([float(i)])),
    "subclass of dict": _many(lambda i: DictChild(a=float(i))),
    "subclass of int": _many(IntChild),
    "subclass of str": _many(lambda i: StrChild("text %d" % i)),
    "subclass of tuple": _many(lambda i: TupleChild((float(i), float(i)))),
    "simple namespaces": _many(lambda i: types.SimpleNamespace(a=float(i))),
    "tree with parent pointers": tree,
    "deque of bytes": lambda: collections.deque(bytes(1000 + i % 3) for i in range(1000)),
    "ordered dict": lambda: collections.OrderedDict((i + 1000, float(i)) for i in range(N)),
    "default dict": lambda: collections.defaultdict(list, ((i + 1000, [float(i)]) for i in range(N))),
    "counter": lambda: collections.Counter(float(i) for i in range(N)),
    "chain map": lambda: collections.ChainMap({i + 1000: float(i) for i in range(N)}),
    "user dict": lambda: collections.UserDict((str(i), float(i)) for i in range(N)),
    "array of doubles": lambda: array.array("d", range(100_000)),
    "memoryview of a bytearray": lambda: memoryview(bytearray(1_000_000)),
    "slice of a memoryview": lambda: memoryview(bytearray(1_000_000))[10:20],
    "BytesIO, written": bytes_io,
    "BytesIO, given": lambda: io.BytesIO(b"x" * 1_000_000),
    "StringIO, written": string_io,
    "StringIO, read": string_io_read,
    "closure over 1 MB": closure,
    "default argument of 1 MB": default_argument,
    "partial over 1 MB": lambda: functools.partial(print, bytes(1_000_000)),
    "lru_cache": cached,
    "lru_cache, bounded": bounded_cache,
    "bound method": bound_method,
    "generator with 1 MB": generator,
    "coroutine with 1 MB": coroutine,
    "async generator with 1 MB": async_generator,
    "exception with a traceback": exception,
    "chained exceptions": chained_exception,
    "dict views": lambda: {i + 1000: float(i) for i in range(N)}.values(),
    "chain over a list": lambda: itertools.chain([float(i) for i in range(N)]),
    "map over a list": lambda: map(str, [float(i) for i in range(N)]),
    "zip over lists": lambda: zip([float(i) for i in range(N)], [float(i) for i in range(N)]),
    "iterator of a list": lambda: iter([float(i) for i in range(N)]),
    "reversed list": lambda: reversed([float(i) for i in range(N)]),
    "tee": lambda: itertools.tee([float(i) for i in range(N)])[0],
    "islice": lambda: itertools.islice([float(i) for i in range(N)], 10),
    "cycle iterator": lambda: itertools.cycle([float(i) for i in range(N)]),
    "element tree": elements,
    "weak value dictionary": weak_values,
    "decimals": _many(lambda i: decimal.Decimal(i) / 7),
    "fractions": _many(lambda i: fractions.Fraction(i, i + 1)),
    "datetimes": _many(lambda i: datetime.datetime(2000, 1, 1) + datetime.timedelta(i)),
    "datetimes with a time zone": _many(lambda i: datetime.datetime.fromtimestamp(i, datetime.timezone(datetime.timedelta(0, i)))),
    "times": _many(lambda i: datetime.time(i % 24, i % 60)),
    "ranges": _many(lambda i: range(i, i + 100_000)),
    "slices": _many(lambda i: slice(i, i + 100_000)),
    "class with 1 MB": python_class,
    "module with 1 MB": module,
    "locals of a frame": frame_locals,
    "mapping proxy": lambda: types.MappingProxyType({i + 1000: float(i) for i in range(N)}),
}


def numpy_cases():
    try:
        import numpy as np
    except ImportError:
        return {}

    def ones():
        return np.ones(1_000_000)

    def views():
        a = ones()
        return [a, a[::2], a[1:]]

    def only_views():
        a = ones()
        return [a[::2], a[1:]]

    def object_cycle():
        items = np.empty(1000, dtype=object)
        items[:] = [[float(i)] for i in range(1000)]
        items[0].append(items)
        return items

    def instance_with_array():
        plain = Plain(1000)
        plain.values = ones()
        return plain

    cases = {
        "numpy: array": ones,
        "numpy: view of ten": lambda: ones()[:10],
        "numpy: array and two views": views,
        "numpy: two views, no array": only_views,
        "numpy: reshaped": lambda: ones().reshape(1000, 1000),
        "numpy: transposed view": lambda: ones().reshape(1000, 1000).T[5:],
        "numpy: reversed": lambda: ones()[::-1],
        "numpy: broadcast row": lambda: np.broadcast_to(np.ones(1000), (1000, 1000)),
        "numpy: objects": lambda: np.array([b"x" * (10_000 + i) for i in range(1000)], dtype=object),
        "numpy: view of objects": lambda: np.array([b"x" * (10_000 + i) for i in range(1000)], dtype=object)[::2],
        "numpy: objects in a cycle": object_cycle,
        "numpy: unicode": lambda: np.array(["abc %d" % i for i in range(N)]),
        "numpy: structured": lambda: np.zeros(N, dtype=[("a", "i4"), ("b", "f8", (3,))]),
        "numpy: record array": lambda: np.zeros(N, dtype=[("a", "i4"), ("b", "f8")]).view(np.recarray),
        "numpy: masked": lambda: np.ma.masked_array(ones(), mask=np.zeros(1_000_000, bool)),
        "numpy: datetimes": lambda: np.arange("1970", "2020", dtype="M8[D]"),
        "numpy: matrix": lambda: np.asmatrix(np.ones((300, 300))),
        "numpy: list of scalars": lambda: list(np.arange(N, dtype="f4")),
        "numpy: list of small arrays": lambda: [np.ones(100) for _ in range(1000)],
        "numpy: frombuffer": lambda: np.frombuffer(bytearray(1_000_000), dtype="u1"),
        "numpy: memoryview of an array": lambda: memoryview(ones()),
        "numpy: array in an instance": instance_with_array,
        "numpy: never touched": lambda: np.zeros(10_000_000),
    }
    if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
        cases["numpy: StringDType"] = lambda: np.array(["x" * 1000] * 1000, dtype=np.dtypes.StringDType())
    return cases


def arrow_cases():
    try:
        import pyarrow as pa
    except ImportError:
        return {}
    n = 100_000
    return {
        "arrow: int64": lambda: pa.array(range(n)),
        "arrow: strings": lambda: pa.array(["string %d" % i for i in range(n)]),
        "arrow: slice of ten": lambda: pa.array(["string %d" % i for i in range(n)]).slice(5, 10),
        "arrow: dictionary": lambda: pa.array(["s%d" % (i % 100) for i in range(n)]).dictionary_encode(),
        "arrow: lists": lambda: pa.array([[i, i] for i in range(n)]),
        "arrow: structs": lambda: pa.array([{"a": i, "b": "t%d" % i} for i in range(n)]),
        "arrow: with nulls": lambda: pa.array([None if i % 3 else i for i in range(n)]),
        "arrow: chunked": lambda: pa.chunked_array([list(range(n)), list(range(n))]),
        "arrow: table": lambda: pa.table({"a": list(range(n)), "b": ["string %d" % i for i in range(n)]}),
        "arrow: slice of a table": lambda: pa.table({"a": list(range(n)), "b": ["t%d" % i for i in range(n)]}).slice(0, 10),
        "arrow: record batch": lambda: pa.record_batch({"a": list(range(n))}),
        "arrow: buffer over bytes": lambda: pa.py_buffer(bytes(1_000_000)),
    }


def pandas_cases():
    try:
        import numpy as np
        import pandas as pd
    except ImportError:
        return {}
    n = 100_000

    def looked_up():
        series = pd.Series(range(n), index=["s%d" % i for i in range(n)])
        series.loc["s5"]
        return series

    def copies():
        first = pd.DataFrame({"a": np.arange(n), "b": np.arange(n) * 0.5})
        return [first, first[:], first[:]]

    return {
        "pandas: ints": lambda: pd.DataFrame({"a": np.arange(n)}),
        "pandas: ten columns": lambda: pd.DataFrame({"c%d" % i: np.arange(n) * 0.5 for i in range(10)}),
        "pandas: strings": lambda: pd.DataFrame({"a": ["string %d" % i for i in range(n)]}),
        "pandas: one string repeated": lambda: pd.DataFrame({"a": pd.Series(["some string %d" % n] * n, dtype=object)}),
        "pandas: lists": lambda: pd.DataFrame({"a": pd.Series([[float(j) for j in range(100)] for _ in range(1000)], dtype=object)}),
        "pandas: dicts": lambda: pd.DataFrame({"a": pd.Series([{"a": float(j)} for j in range(1000)], dtype=object)}),
        "pandas: category": lambda: pd.DataFrame({"a": pd.Categorical(["c%d" % (i % 1000) for i in range(n)])}),
        "pandas: string index, looked up": looked_up,
        "pandas: head of ten strings": lambda: pd.Series(["string %d" % i for i in range(n)]).iloc[:10],
        "pandas: head of ten ints": lambda: pd.Series(np.arange(n)).iloc[:10],
        "pandas: three frames, one buffer": copies,
        "pandas: nullable ints": lambda: pd.DataFrame({"a": pd.array(range(n), dtype="Int64")}),
        "pandas: dates": lambda: pd.DataFrame({"a": pd.date_range("2020", periods=n, freq="s")}),
        "pandas: several types": lambda: pd.DataFrame(
            {"a": np.arange(n), "b": np.arange(n) * 0.5, "c": ["s%d" % i for i in range(n)], "d": np.arange(n) > 5}
        ),
        "pandas: multi-index": lambda: pd.DataFrame({"a": np.arange(n)}, index=pd.MultiIndex.from_product([range(1000), range(100)])),
        "pandas: copy of an index": lambda: pd.Index(np.arange(n) * 3),
    }


#: Noise, which does not shrink.
NOISE = bytes(random.Random(1).randrange(256) for _ in range(200_000))


def fed(make, whole, most=-1):
    """A decompressor that has had a part of its input; with ``most``, of which it gave a part of the output."""

    def build():
        reader = make()
        reader.decompress(*([whole[: len(whole) // 2]] if most < 0 else [whole, most]))
        return reader

    return build


def holder(make, whole, act):
    def build():
        made = make()
        act(made, whole)
        return made

    return build


class Point(ctypes.Structure):
    _fields_ = [("values", ctypes.c_double * 50_000)]


def pointer():
    return ctypes.cast((ctypes.c_int * 100_000)(), ctypes.POINTER(ctypes.c_int))


def c_cases():
    """Memory that C libraries allocate for an object through the interpreter's allocators, so that tracemalloc sees it."""
    raw = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "mf": lzma.MF_BT2}]
    cases = {
        "zlib: compressor": zlib.compressobj,
        "zlib: small window": lambda: zlib.compressobj(9, zlib.DEFLATED, 9, 1),
        "zlib: raw, used": holder(lambda: zlib.compressobj(6, zlib.DEFLATED, -15, 9), NOISE, lambda made, whole: made.compress(whole)),
        "zlib: decompressor": fed(zlib.decompressobj, zlib.compress(NOISE)),
        "zlib: unused decompressor": zlib.decompressobj,
        "bz2: compressor": bz2.BZ2Compressor,
        "bz2: small blocks": lambda: bz2.BZ2Compressor(1),
        "lzma: compressor": lambda: lzma.LZMACompressor(preset=1),
        "lzma: alone": lambda: lzma.LZMACompressor(format=lzma.FORMAT_ALONE, preset=0),
        "lzma: hash chains": lambda: lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "mf": lzma.MF_HC3, "dict_size": 1 << 16}]),
        "lzma: decompressor": fed(lzma.LZMADecompressor, lzma.compress(NOISE, preset=1)),
        "lzma: input kept": fed(lzma.LZMADecompressor, lzma.compress(NOISE, preset=1), 10),
        "lzma: raw": fed(lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=raw), lzma.compress(NOISE, format=lzma.FORMAT_RAW, filters=raw)),
        "ctypes: string buffer": lambda: ctypes.create_string_buffer(1_000_000),
        "ctypes: structure": Point,
        "ctypes: pointer to an array": pointer,
        "ctypes: slices of a structure": lambda: (lambda point: [point.values, point])(Point()),
        "ctypes: over a bytearray": lambda: (ctypes.c_char * 1_000_000).from_buffer(bytearray(1_000_000)),
    }
    if hasattr(zlib, "_ZlibDecompressor"):
        cases["zlib: input kept"] = fed(zlib._ZlibDecompressor, zlib.compress(NOISE), 10)
    return cases


def exact_cases():
    """Objects whose size is known by arithmetic, since no tracer sees it: name to (build, bytes)."""
    cases = {"mmap of 10 MB": (lambda: mmap.mmap(-1, 10_000_000), 10_000_000)}
    # BZ2Decompressor leaves allocating to bzip2, which calls malloc: what mallinfo2 said.
    cases["bz2: decompressor"] = (fed(bz2.BZ2Decompressor, bz2.compress(NOISE)), 3_664_328)
    cases["bz2: small blocks read"] = (fed(bz2.BZ2Decompressor, bz2.compress(NOISE, 1), 10), 464_328)
    cases["bz2: unused decompressor"] = (bz2.BZ2Decompressor, 64_328)
    try:
        import polars as pl
    except ImportError:
        return cases
    n = 100_000
    cases["polars: ints"] = (lambda: pl.DataFrame({"a": range(n)}), 8 * n)
    cases["polars: floats, a series"] = (lambda: pl.Series([0.5 * i for i in range(n)]), 8 * n)
    cases["polars: two columns"] = (lambda: pl.DataFrame({"a": range(n), "b": [0.5] * n}), 16 * n)
    cases["polars: nulls"] = (lambda: pl.Series([None if i % 3 else i for i in range(n)]), 8 * n + n // 8)
    cases["polars: booleans"] = (lambda: pl.Series([i % 3 == 0 for i in range(8 * n)]), n)
    cases["polars: short strings"] = (lambda: pl.Series(["s%d" % i for i in range(n)]), 16 * n)
    cases["polars: lists"] = (lambda: pl.Series([[i, i] for i in range(n)]), 16 * n + 8 * (n + 1))
    cases["polars: one frame twice"] = (lambda: [pl.DataFrame({"a": range(n)})] * 2, 8 * n)
    return cases


def traced_cases():
    """Name to build, of all that tracemalloc and Arrow's pool see."""
    return {**PYTHON, **c_cases(), **numpy_cases(), **arrow_cases(), **pandas_cases()}


def _arrow_bytes():
    arrow = sys.modules.get("pyarrow")
    return arrow.total_allocated_bytes() if arrow else 0


def measured(build):
    """The object and the bytes that were allocated for it and are still there."""
    # Once before, so that what is made once only (caches, lazy imports) is not counted.
    build()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0] + _arrow_bytes()
        made = build()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0] + _arrow_bytes()
    finally:
        tracemalloc.stop()
    return made, after - before
