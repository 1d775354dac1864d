"""The one boundary to compiled code: structures declared once in plain C headers, arrays checked once per call."""

from __future__ import annotations

import functools
import re

import cffi
import numpy as np

from ..errors import EngineError, NetworkError
from .build import MODELS, REAL_TYPES, compiled, load
from .forking import pause_before_fork

_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+\.h)"', re.MULTILINE)


def _declarations(name: str, seen: set[str]) -> str:
    """Text of a plain C header below ``models/`` without preprocessor lines, after the headers that it includes."""
    if name in seen:
        return ""
    seen.add(name)
    text = (MODELS / name).read_text()
    before = "".join(_declarations(other, seen) for other in _INCLUDE.findall(text))
    return before + "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")) + "\n"


@functools.cache
def interface(header: str, dtype: str) -> cffi.FFI:
    """Read a plain C header as cffi does: structures and prototypes of the libraries that include it.

    Parameters
    ----------
    header : str
        Path below ``models/``, such as ``order/arguments.h``. ``R`` is the floating-point type in it.
    dtype : {'float32', 'float64'}

    Returns
    -------
    cffi.FFI
        ``ffi.new("LoopArguments*", {...})`` refuses a field that the header does not have.
    """
    ffi = cffi.FFI()
    ffi.cdef(f"typedef {REAL_TYPES[dtype]} R;\n" + _declarations(header, set()))
    return ffi


@functools.cache
def library(source: str, header: str, dtype: str, core: str = "", own_flags: tuple[str, ...] = ()):
    """Compile and load C++ that includes a plain C header.

    Parameters
    ----------
    source : str
        One translation unit, see `compiled`.
    header : str
        Path below ``models/``.
    dtype : {'float32', 'float64'}
    core : str, optional
    own_flags : tuple of str, optional
        As in `compiled`.

    Returns
    -------
    ffi : cffi.FFI
    lib
        Its attributes are the functions that the header declares.
    """
    ffi, path = interface(header, dtype), compiled(source, dtype, core, own_flags)
    lib = load(path, ffi.dlopen)
    pause_before_fork(path)
    return ffi, lib


def check_status(status: int, remedy: str) -> None:
    """Raise what ``guarded`` of ``native/support.hpp`` caught."""
    if status:
        what = "Out of memory in the compiled engine" if status == 1 else f"The compiled engine failed ({status})"
        raise EngineError(f"{what}: {remedy}.")


class Arrays:
    """The arrays of one call: converted, checked, and alive as long as this object.

    Parameters
    ----------
    ffi : cffi.FFI
    dtype : numpy dtype
        Type of arrays of ``R``.
    error : type
        What is raised about an array that does not fit.
    """

    def __init__(self, ffi: cffi.FFI, dtype, error: type[Exception] = NetworkError):
        self.ffi, self.dtype, self.error, self._kept = ffi, np.dtype(dtype), error, []

    def keep(self, thing):
        """Keep any object alive with the call, and return it."""
        self._kept.append(thing)
        return thing

    def input(self, name: str, array, dtype=None, *, shape=None, least=None, below=None, finite=False):
        """Pointer to an array that the library reads.

        Parameters
        ----------
        name : str
            What errors call it.
        array : array_like or None
            ``None`` gives a null pointer.
        dtype : numpy dtype, optional
            Default: the type of ``R``. Floats are never cut to integers.
        shape : tuple of int, optional
        least, below : int, optional
            Values must be ``least <= value < below``.
        finite : bool
            Refuse NaN and infinity.
        """
        if array is None:
            return self.ffi.NULL
        found, dtype = np.asarray(array), self.dtype if dtype is None else np.dtype(dtype)
        if shape is not None and found.shape != tuple(shape):
            raise self.error(f"{name} has shape {found.shape}, expected {tuple(shape)}.")
        if found.dtype.kind not in "biuf" or (dtype.kind in "iu" and found.dtype.kind not in "iu" and found.size):
            raise self.error(f"{name} has type {found.dtype}, expected {dtype}.")
        if not (least is None and below is None):
            self._check_range(name, found, least, below)
        if dtype.kind in "iu" and found.dtype != dtype and not np.can_cast(found.dtype, dtype):
            self._check_range(name, found, np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
        if found.dtype == dtype and found.ndim and found.flags.c_contiguous:  # most calls: nothing to convert
            array = found
        elif found.dtype.kind != "f":
            array = np.ascontiguousarray(found, dtype)
        else:
            with np.errstate(over="ignore"):
                array = np.ascontiguousarray(found, dtype)
        if finite and found.dtype.kind == "f":
            self._check_finite(name, array)
        return self._pointer(array)

    def offsets(self, name: str, ptr, n: int, total: int):
        """Pointer to offsets into `total` entries, (n + 1,): the entries of i are ``ptr[i] : ptr[i + 1]``."""
        pointer, found = self.input(name, ptr, np.int64, shape=(n + 1,)), self._kept[-1]
        if found[0] != 0 or found[-1] != total:
            raise self.error(f"{name} runs from {found[0]} to {found[-1]}, expected 0 to {total}.")
        back = found[1:] < found[:-1]
        if back.any():
            at = int(back.argmax())
            raise self.error(f"{name}[{at + 1}] = {found[at + 1]}, expected at least {name}[{at}] = {found[at]}.")
        return pointer

    def output(self, array: np.ndarray | None):
        """Pointer to an array of the right type that the library fills; ``None`` gives a null pointer."""
        return self.ffi.NULL if array is None else self._pointer(array)

    def table(self, pointers, kind: str = "R"):
        """Pointer to a table of pointers to `kind`."""
        return self.keep(self.ffi.new(f"{kind}*[]", list(pointers) or 1))

    def _check_finite(self, name, array) -> None:
        if np.isfinite(array).all():
            return
        index = np.unravel_index(int(np.flatnonzero(~np.isfinite(array))[0]), array.shape)
        raise self.error(f"{name}{list(map(int, index))} = {array[index]}; expected finite numbers.")

    def _check_range(self, name, found, least, below) -> None:
        if not found.size:
            return
        natural = found.dtype.kind == "u" and least == 0  # most events: saves a pass over them
        low = least is not None and not natural and found.min() < least
        if low or (below is not None and found.max() >= below):
            bad = (found < least) if low else (found >= below)
            index = int(np.flatnonzero(bad)[0])
            limits = [f"at least {least}"] * (least is not None) + [f"below {below}"] * (below is not None)
            raise self.error(f"{name}[{index}] = {found.flat[index]}; expected values {' and '.join(limits)}.")

    def _pointer(self, array: np.ndarray):
        self.keep(array)
        kind = "R[]" if array.dtype == self.dtype else _C_TYPES[array.dtype]
        return self.ffi.from_buffer(kind, array)


_C_TYPES = {
    **{np.dtype(f"{sign}int{bits}"): f"{sign}int{bits}_t[]" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    np.dtype("float32"): "float[]",
    np.dtype("float64"): "double[]",
    np.dtype("bool"): "uint8_t[]",
}
