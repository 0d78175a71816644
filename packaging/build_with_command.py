"""The build backend: maturin's, after the command and the agent are built and laid where the wheel takes them from.

`pip install .` thus gives the module, `bin/memlens` and `libexec/memlens/libmemlens_agent.so`, which the command finds from there (a folder `lib` is left out by
`pip install --target`).
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # Before maturin says it in other words, after a minute of compiling.
    sys.exit(
        "memlens cannot be installed in a free-threaded CPython yet: install it in a build with the GIL, "
        "whose command records this one too (memlens run --python %s)" % getattr(sys, "_base_executable", sys.executable)
    )

import maturin  # noqa: E402
from maturin import get_requires_for_build_sdist, get_requires_for_build_wheel  # noqa: E402, F401
from maturin import build_sdist  # noqa: E402, F401

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "target" / "wheel-data"


def _lay_out_command() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    release = ROOT / target / "release"
    cargo = os.environ.get("CARGO", "cargo")
    # What is passed on does not have the C library in it, whose licence is another.
    environment = {**os.environ, "MEMLENS_LINK": "dynamic"}
    command = [cargo, "build", "--release", "-p", "memlens", "-p", "memlens-agent"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    shutil.rmtree(DATA, ignore_errors=True)
    for source, folder in [("memlens", "scripts"), ("libmemlens_agent.so", "data/libexec/memlens")]:
        place = DATA / folder
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(release / source, place / source)
        subprocess.run(["strip", "--strip-debug", str(place / source)], check=False)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    DATA.mkdir(parents=True, exist_ok=True)
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _lay_out_command()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    _lay_out_command()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
