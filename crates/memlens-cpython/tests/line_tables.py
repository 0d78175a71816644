"""Print each code object of some modules: first line, line table in hex, and the line of every instruction.

The lines come from PyCode_Addr2Line itself, which every version exports; -1 stands for no line.
"""
import ctypes
import importlib.util
import sys

MODULES = ["argparse", "dataclasses", "typing", "asyncio.base_events", "json.decoder", "contextlib", "ast", "this"]

addr2line = ctypes.pythonapi.PyCode_Addr2Line
addr2line.argtypes = [ctypes.py_object, ctypes.c_int]
addr2line.restype = ctypes.c_int

GAPS = """
def widely_spaced(a):
    x = (a +
""" + "\n" * 300 + """
         1)
    try:
        return [y for y in x if y] + [lambda: x]
    except ValueError as error:
        raise
    finally:
""" + "\n" * 5000 + """
        print(x)
async def later():
    async with a() as b:
        async for c in b: yield c
class C:
    def f(self): return super().f()
"""


def walk(code):
    yield code
    for const in code.co_consts:
        if isinstance(const, type(code)):
            yield from walk(const)


def codes():
    yield from walk(compile(GAPS, "gaps", "exec"))
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        yield from walk(spec.loader.get_code(name))


print(sys.hexversion)
for code in codes():
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    lines = [addr2line(code, at) for at in range(-1, len(code.co_code), 1)]
    print(code.co_firstlineno, table.hex() or "-", ",".join(map(str, lines)))
