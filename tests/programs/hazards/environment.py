"""Says what a program can see of how it was started."""
import json
import os
import sys

print(json.dumps({
    "argv": sys.argv,
    "path0": sys.path[0],
    "name": __name__,
    "file": globals().get("__file__"),
    "cwd": os.getcwd(),
    "flags": list(sys.flags),
    "input": None if sys.stdin is None else sys.stdin.read(),
    "preload": os.environ.get("EXPECT_PRELOAD"),
    "modules": sorted(name for name in sys.modules if "memlens" in name),
    "trace": [repr(sys.gettrace()), repr(sys.getprofile())],
    "executable": sys.executable,
    "prefix": sys.prefix,
}))
