"""Flags of the C++ compiler, by what it is and where: GCC and Clang on Linux and macOS."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

from ..errors import EngineError

# Contraction to fused multiply-adds is off in double precision, where runs are compared with Brian 2's own code
# compiled the same way; single precision is for speed.
_BY_TYPE = {
    "float64": ["-ffp-contract=off"],
    "float32": ["-fno-math-errno", "-fno-trapping-math"],
}
# Of a source whose vectors are written out: those that a compiler finds besides are short, make it no faster, and take
# a third of the time to compile.
NO_MORE_VECTORS = ("-fno-tree-vectorize", "-fno-tree-slp-vectorize")
# Where Apple's Clang finds the OpenMP library: Homebrew on either processor, conda, MacPorts.
OPENMP_FOLDERS = ("/opt/homebrew/opt/libomp", "/usr/local/opt/libomp", "$CONDA_PREFIX", "/opt/local")


def machine_flags(system: str, machine: str, clang: bool) -> list[str]:
    """Flags for the very processor of this machine.

    Parameters
    ----------
    system, machine : str
        As of `platform.system` and `platform.machine`.
    clang : bool
    """
    if machine in ("arm64", "aarch64") and clang:  # Clang before 15 knows no -march=native there
        return ["-mcpu=native"] if system == "Linux" else ["-mcpu=apple-m1"]
    return ["-march=native"]


def openmp_flags(system: str, clang: bool, openmp: Path | None) -> list[str]:
    """Flags for several threads.

    Parameters
    ----------
    system : str
    clang : bool
    openmp : Path or None
        Folder with ``include/omp.h`` and ``lib/libomp.dylib``, on macOS.

    Raises
    ------
    EngineError
        If Clang on macOS has no OpenMP library.
    """
    if system != "Darwin" or not clang:
        return ["-fopenmp"]
    if openmp is None:
        raise EngineError(
            "Clang on macOS needs the OpenMP library: `brew install libomp`, or `conda install llvm-openmp`."
        )
    return ["-Xpreprocessor", "-fopenmp", f"-I{openmp}/include", f"-L{openmp}/lib", f"-Wl,-rpath,{openmp}/lib", "-lomp"]


def compiler_flags(dtype: str, system: str, machine: str, clang: bool, openmp: Path | None = None) -> list[str]:
    """All flags but the sanitizers' and the definitions.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    system, machine, clang, openmp
        As of `machine_flags` and `openmp_flags`.

    Raises
    ------
    EngineError
        On Windows, or without an OpenMP library.
    """
    if system == "Windows":
        raise EngineError("Windows itself is not supported: run in the Windows Subsystem for Linux (WSL 2).")
    shared = ["-std=c++17", "-shared", "-fPIC", *openmp_flags(system, clang, openmp)]
    # A process loads many engines whose generated classes have the same names: none may read another's constants.
    own = ["-fvisibility-inlines-hidden", *([] if clang else ["-fno-gnu-unique"])]
    return ["-O3", *machine_flags(system, machine, clang), *_BY_TYPE[dtype], *shared, *own]


def is_clang(version: str) -> bool:
    """Whether the first line of a compiler's ``--version`` is Clang's; that of macOS calls itself g++, too."""
    return "clang" in version.lower()


@functools.cache
def openmp_folder() -> Path | None:
    """Folder of the OpenMP library on macOS."""
    for name in OPENMP_FOLDERS:
        folder = Path(os.path.expandvars(name))
        if (folder / "include" / "omp.h").exists():
            return folder
    return None


def flags_here(dtype: str, version: str) -> list[str]:
    """Flags on this machine for a compiler by the first line of its ``--version``."""
    system, clang = platform.system(), is_clang(version)
    openmp = openmp_folder() if system == "Darwin" and clang else None
    return compiler_flags(dtype, system, platform.machine(), clang, openmp)


def brian2_flags(version: str) -> list[str]:
    """Flags for Brian 2's own C++: no value-changing optimisations, so that runs compare spike for spike."""
    machine = machine_flags(platform.system(), platform.machine(), is_clang(version))
    return ["-O3", *machine, "-ffp-contract=off", "-std=c++11"]
