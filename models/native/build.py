"""Compile generated C++ to a shared library, once per content."""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import jinja2

from ..cache import cache_folder
from ..errors import EngineError
from ..files import remove_leftovers, write_file
from .flags import flags_here

REAL_TYPES = {"float32": "float", "float64": "double"}
MODELS = Path(__file__).resolve().parents[1]
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.MULTILINE)
# Engines of the tests under sanitizers, see .ci/sanitize.py: the last flags win.
_SANITIZERS = {
    "": [],
    "address": [
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
    ],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}
_SEAL = b"\nbrian2grad sha256 "
_SEALED = len(_SEAL) + 64


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
    return load(compiled(source, dtype), ctypes.CDLL)


def compiled(source: str, dtype: str = "float64", core: str = "", own_flags: tuple[str, ...] = ()) -> Path:
    """Compile `source` to a shared library; one with the same content is taken from the cache.

    Parameters
    ----------
    source : str
        One translation unit; ``REAL`` is defined as the floating-point type. Headers are included by their path
        below ``models/``, and what they hold counts as content.
    dtype : {'float32', 'float64'}
    core : str, optional
        A second one that many libraries share: compiled once, and linked with each of them.
    own_flags : tuple of str, optional
        Of the compiler, for `source` and not for its core.

    Returns
    -------
    Path

    Raises
    ------
    EngineError
        If there is no compiler or it refuses the source, or ``$BRIAN2GRAD_OPTIMISE`` is no level of optimisation.
    """
    sanitizer = _SANITIZERS[os.environ.get("BRIAN2GRAD_SANITIZE", "")]
    flags = [*flags_here(dtype, compiler_version()), *_level(), *sanitizer, f"-DREAL={REAL_TYPES[dtype]}"]
    try:
        return _kept(source, flags, cache_folder("engine"), core, own_flags)
    except OSError as error:
        where = f"in {error.filename}" if error.filename else "in the cache"
        raise EngineError(
            f"The compiled code cannot be kept {where} ({error.strerror or error}); free space there, or set "
            "BRIAN2GRAD_CACHE to another folder."
        ) from None


def _level() -> list[str]:
    """Flag of the level of optimisation, where another than the usual one is asked for."""
    level = os.environ.get("BRIAN2GRAD_OPTIMISE")
    if level not in (None, "0", "g", "1", "2", "3"):
        raise EngineError(f"BRIAN2GRAD_OPTIMISE={level}: give a level, 0 to 3 or g, or leave it out (3).")
    return [] if level is None else [f"-O{level}"]


def _kept(source: str, flags: list[str], folder: Path, core: str = "", own_flags=(), suffix: str = ".so") -> Path:
    """The library or object made of a source, from the cache if it is there and intact."""
    texts = [text for each in (source, core) for text in (each, *included(each).values())]
    digest = digest_of(*texts, " ".join([*flags, *own_flags]), compiler(), compiler_version(), _processor())
    path = folder / f"{digest}{suffix}"
    if not intact(path, digest):
        objects = [_kept(core, [*flags, "-c"], folder, suffix=".o")] if core else []
        remove_leftovers(folder, age=3600)  # younger ones may be of a process that is compiling
        write_file(path, sealed(_build(source, [*flags, *own_flags], folder, objects), digest))
    return path


def _build(source: str, flags: list[str], folder: Path, objects: list[Path]) -> bytes:
    """Compile and return what came out; in a folder of its own, which a killed compiler cannot leave half done."""
    for leftover in folder.glob("build-*"):
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as place:
        output = Path(place) / "library.so"
        # What is preloaded into this process, such as a sanitizer, is nothing for the compiler.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {"TMPDIR": place}
        command = [compiler(), f"-I{MODELS}", "-x", "c++", "-", "-x", "none", *flags, "-o", str(output)]
        for path in objects:  # without its seal, which linkers need not expect
            (Path(place) / path.name).write_bytes(path.read_bytes()[:-_SEALED])
            command.append(str(Path(place) / path.name))
        done = subprocess.run(command, input=source, capture_output=True, text=True, env=environment)
        if done.returncode == 0:
            return output.read_bytes()
    if os.strerror(errno.ENOSPC) in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    kept = folder / f"{digest_of(source)}.failed.cpp"
    write_file(kept, source.encode())
    raise EngineError(f"{compiler()} refused the generated code (kept as {kept}):\n{done.stderr[:2000]}")


def digest_of(*parts: str) -> str:
    """Name in the cache of what was made from texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def sealed(content: bytes, name: str) -> bytes:
    """Library with a line behind it that says what it is and what it holds; loaders do not look there."""
    return content + _SEAL + hashlib.sha256(name.encode() + content).hexdigest().encode()


def intact(library: Path, name: str) -> bool:
    """Whether a library in the cache is the one of this name, byte for byte as it was compiled."""
    try:
        content = library.read_bytes()
    except FileNotFoundError:
        return False
    content, seal, found = content[:-_SEALED], content[-_SEALED:-64], content[-64:]
    return seal == _SEAL and hashlib.sha256(name.encode() + content).hexdigest().encode() == found


def load(library: Path, loader):
    """Load a library; a system that refuses is one line."""
    try:
        return loader(str(library))
    except OSError as error:
        raise EngineError(
            f"{library} cannot be loaded ({error}); set BRIAN2GRAD_CACHE to a folder that allows programs."
        ) from None


@functools.cache
def _processor() -> str:
    """What ``-march=native`` depends on, so that a cache shared between machines never serves foreign code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
