"""Whether arrays are still what they were when they were last looked at."""

from __future__ import annotations

import cffi
import numpy as np

_ffi = cffi.FFI()


class Remembered:
    """Copies of arrays by name: comparing bytes costs less than converting and checking the numbers again.

    Parameters
    ----------
    arrays : dict of str to array, optional
    held : dict of str to array, optional
        Copies of some of them that somebody else holds and nobody changes; others are made where these differ in form.

    Attributes
    ----------
    arrays : dict of str to array
        The copies, which cannot be written.
    """

    def __init__(self, arrays=(), held=()):
        self.arrays = {}
        for name, array in dict(arrays).items():
            array, copy = np.asarray(array), dict(held).get(name)
            if copy is None or copy.dtype != array.dtype or copy.shape != array.shape:
                copy = np.array(array, order="C")
                copy.flags.writeable = False
            self.arrays[name] = copy

    def same(self, arrays: dict[str, np.ndarray]) -> bool:
        """Whether the arrays have the names, types, shapes and bytes of the remembered ones."""
        if arrays.keys() != self.arrays.keys():
            return False
        for name, kept in self.arrays.items():
            array = np.asarray(arrays[name])
            if array.dtype != kept.dtype or array.shape != kept.shape or _bytes(array) != _bytes(kept):
                return False
        return True


def _bytes(array: np.ndarray):
    """Bytes of an array in row order, in place if they lie so."""
    return _ffi.buffer(_ffi.from_buffer(array)) if array.flags.c_contiguous else array.tobytes()
