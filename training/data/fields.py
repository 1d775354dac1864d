"""What the fields of a file may be: one table per kind of file, the same rules on disk and in memory."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import numpy as np

from .errors import DataError

__all__ = ["Field", "Misfit", "Problems", "first_true"]

# Kinds of NumPy types whose values can be meant where a field is kept as the first letter says.
_KINDS = {"u": "ui", "i": "ui", "f": "uif", "t": "USui"}


class Misfit(ValueError):
    """What is wrong with a value, without the name of its field."""


class Problems:
    """Collect what is wrong with a file, to name every wrong field at once.

    Parameters
    ----------
    where : str or path-like
        File, or name of the archive in memory.
    """

    def __init__(self, where):
        self.where, self.found = where, {}

    def add(self, field, problem):
        """Note what is wrong with a field; the first problem of each counts."""
        self.found.setdefault(field, str(problem))

    def keep(self, record, fields):
        """Let a record hold its fields as they are kept, and stop if one doesn't fit; optional ones may be ``None``."""
        for name, field in fields.items():
            value = getattr(record, name)
            if value is None and not field.required:
                continue
            try:
                object.__setattr__(record, name, field.checked(value))
            except Misfit as misfit:
                self.add(name, misfit)
        self.stop()

    def stop(self):
        """Raise one `DataError` that names all fields noted, if there are any."""
        if self.found:
            text = "; ".join(f"field '{field}' {problem}" for field, problem in self.found.items())
            raise DataError(f"{self.where}: {text}")


def first_true(mask):
    """Return the index of the first True, or None."""
    if mask.size == 0:
        return None
    index = int(mask.argmax())
    return index if mask.flat[index] else None


@dataclass(frozen=True)
class Field:
    """One field of a file: other types that fit are taken, what does not fit is refused by its first bad index.

    Attributes
    ----------
    dtype : str
        Type in which values are kept: a NumPy type, ``unsigned`` (as wide as found) or ``text``.
    ndim : int
        Dimensions; 0 is one value, kept as int, float or str.
    least, most : float, optional
        Bounds, allowed themselves. Integers must fit their type, and floats be finite, in any case.
    required : bool
    lenient : bool
        Leave it out where it does not fit, rather than refuse the file.
    """

    dtype: str
    ndim: int = 1
    least: float | None = None
    most: float | None = None
    required: bool = True
    lenient: bool = False

    @property
    def word(self) -> str:
        """Its type in messages."""
        if self.dtype == "text" or self.ndim:
            return "uint" if self.dtype == "unsigned" else self.dtype
        return "number" if self.dtype.startswith("float") else "integer"

    def target(self, dtype) -> np.dtype:
        """Type in which values of type `dtype` are kept; refuses a type that can't be meant.

        Raises
        ------
        Misfit
        """
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise Misfit(f"holds Python objects, which are never read; store it as {self.word}")
        if dtype.kind not in _KINDS[self.dtype[0]] or not dtype.itemsize:
            raise Misfit(f"has dtype {dtype}; store it as {self.word}")
        if self.dtype == "text":
            return dtype.newbyteorder("=")
        return np.dtype(f"u{dtype.itemsize}" if self.dtype == "unsigned" else self.dtype)

    def check_shape(self, shape) -> None:
        """Refuse another number of dimensions; one value may come as an array of one."""
        if self.ndim == 0 and math.prod(shape) != 1:
            raise Misfit(f"has shape {tuple(shape)}; it must be one {self.word}")
        if self.ndim and len(shape) != self.ndim:
            raise Misfit(f"has {len(shape)} dimensions; it must have {self.ndim}")

    def fitted(self, values: np.ndarray, first: int = 0, shape=(), order="C") -> np.ndarray:
        """Return a line of values in the type they are kept in.

        Parameters
        ----------
        values : (n,) array
        first : int
            Index of the first of them in the whole field, for the message.
        shape : tuple of int
            Of the whole field, for the message.
        order : {'C', 'F'}
            In which its values are stored, for the message.

        Raises
        ------
        Misfit
            Naming the first value that doesn't fit.
        """
        target = self.target(values.dtype)
        if self.dtype == "text":
            kept = values.astype(target, copy=False)
            if target.kind == "U" and kept.size and kept.view(np.uint32).max() > 0x10FFFF:
                raise Misfit("holds characters that do not exist; store it again")
            return kept
        bad = self._first_bad(values, target)
        if bad is not None:
            raise Misfit(f"is {values[bad]}{self._place(first + bad, shape, order)}; {self._allowed(target)}")
        return values.astype(target, copy=False)

    def checked(self, value):
        """Return a value in memory as it is kept: an array, or one value where the field is one.

        Raises
        ------
        Misfit
        """
        if self.ndim == 0:
            return self._single(value)
        if not isinstance(value, np.ndarray):
            raise Misfit(f"is a {type(value).__name__}, not an array; store it as {self.word}")
        self.check_shape(value.shape)
        return self.fitted(value.ravel(), shape=value.shape).reshape(value.shape)

    def _single(self, value):
        if isinstance(value, np.ndarray | np.generic) and value.size == 1:
            value = value.item()
        kind = {"text": str, "number": numbers.Real, "integer": numbers.Integral}[self.word]
        if isinstance(value, bool) or not isinstance(value, kind):
            raise Misfit(f"must be one {self.word}, not {value!r:.60}")
        if kind is str:
            return str(value)
        if not self._within(value, value, *self._bounds(np.dtype(self.dtype))):
            raise Misfit(f"is {value!s:.40}; {self._allowed(np.dtype(self.dtype))}")
        return int(value) if kind is numbers.Integral else float(value)

    def _bounds(self, target):
        """Lowest and highest value allowed, as numbers of Python: no type of NumPy decides about a comparison."""
        info = np.iinfo(target) if target.kind in "ui" else np.finfo(target)
        low, high = info.min if self.least is None else self.least, info.max if self.most is None else self.most
        return (int(low), int(high)) if target.kind in "ui" else (float(low), float(high))

    @staticmethod
    def _within(low, high, least, most):
        return bool(low >= least and high <= most)  # written so that it is False for NaN

    def _first_bad(self, values, target):
        if not values.size:
            return None
        least, most = self._bounds(target)
        if self._within(values.min().item(), values.max().item(), least, most):  # no temporary array
            return None
        for first in range(0, len(values), 4096):  # numbers of Python are large
            for k, value in enumerate(values[first : first + 4096].tolist(), first):
                if not self._within(value, value, least, most):
                    return k
        return None

    def _place(self, index, shape, order):
        if not self.ndim:
            return ""
        if self.ndim == 1:
            return f" at index {index}"
        return f" at index {tuple(int(i) for i in np.unravel_index(index, shape, order))}"

    def _allowed(self, target):
        if self.least is None and self.most is None and target.kind == "f":
            return "it must be finite"
        least, most = self._bounds(target)
        return f"{least:.10g} to {most:.10g} fit"
