"""Compile generated C++ to a shared library, once per content."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import jinja2

from ..cache import cache_folder
from ..errors import EngineError
from ..files import atomic

REAL_TYPES = {"float32": "float", "float64": "double"}
# Contraction to fused multiply-adds is off in double precision, where runs are compared with Brian 2's own code
# compiled the same way; single precision is for speed.
_FLAGS = {
    "float64": ["-O3", "-march=native", "-ffp-contract=off"],
    "float32": ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"],
}
MODELS = Path(__file__).resolve().parents[1]
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.MULTILINE)
_COMMON_FLAGS = ["-std=c++17", "-shared", "-fPIC", "-fopenmp"]


@functools.cache
def compiler() -> str:
    """Path of the C++ compiler: ``$CXX``, else ``g++``, else ``c++`` or ``clang++``.

    Raises
    ------
    EngineError
        If there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise EngineError(
        "No C++ compiler found (looked for $CXX, g++, c++, clang++). Install one, e.g. `apt-get install g++` "
        "or `conda install cxx-compiler`."
    )


@functools.cache
def compiler_version() -> str:
    """First line of the compiler's ``--version``."""
    text = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0]


def render(template: str, **values) -> str:
    """Fill a template, named by its path below ``models/`` such as ``gamma/gamma.cpp.jinja``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(MODELS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def included(source: str) -> dict[str, str]:
    """Every header that `source` includes, directly or not: path below ``models/`` to text, in order of inclusion."""
    found: dict[str, str] = {}
    waiting = _INCLUDE.findall(source)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = (MODELS / name).read_text()
            waiting += _INCLUDE.findall(found[name])
    return found


@functools.cache
def compile_library(source: str, dtype: str = "float64") -> ctypes.CDLL:
    """Compile `source` and load it with ctypes; see `compiled`."""
    return ctypes.CDLL(str(compiled(source, dtype)))


def compiled(source: str, dtype: str = "float64") -> Path:
    """Compile `source` to a shared library; one with the same content is taken from the cache.

    Parameters
    ----------
    source : str
        One translation unit; ``REAL`` is defined as the floating-point type. Headers are included by their path
        below ``models/``, and what they hold counts as content.
    dtype : {'float32', 'float64'}

    Returns
    -------
    Path

    Raises
    ------
    EngineError
        If there is no compiler or it refuses the source.
    """
    flags = [*_FLAGS[dtype], *_COMMON_FLAGS, f"-DREAL={REAL_TYPES[dtype]}"]
    parts = [source, *included(source).values(), " ".join(flags), compiler(), compiler_version(), _processor()]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    folder = cache_folder("engine")
    library = folder / f"{digest}.so"
    if not library.exists():
        with atomic(library) as output:  # another process may be compiling the same content
            command = [compiler(), *flags, f"-I{MODELS}", "-x", "c++", "-", "-o", str(output)]
            done = subprocess.run(command, input=source, capture_output=True, text=True)
            if done.returncode:
                kept = folder / f"{digest}.failed.cpp"
                kept.write_text(source)
                raise EngineError(f"{compiler()} refused the generated code (kept as {kept}):\n{done.stderr[:2000]}")
    return library


@functools.cache
def _processor() -> str:
    """What ``-march=native`` depends on, so that a cache shared between machines never serves foreign code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
