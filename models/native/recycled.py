"""Memory of results that nobody holds any more, for the next ones."""

from __future__ import annotations

import sys

import numpy as np


class Recycled:
    """Arrays for the results of many calls: pages fresh from the system cost more than what is written to them.

    Attributes
    ----------
    most : int
        Bytes of an array beyond which none is kept.
    """

    most = 1 << 26
    _NOBODY = 2  # references: the list's, and that of the call which counts them

    def __init__(self):
        self._held: dict = {}

    def empty(self, name: str, size: int, dtype) -> np.ndarray:
        """A one-dimensional array, not initialised; neither it nor a part of it is in anybody else's hands.

        Parameters
        ----------
        name : str
            Of the result: a few arrays are kept for each.
        size : int
        dtype : numpy dtype
        """
        held = self._held.setdefault(name, [])
        for k in range(len(held)):
            if held[k].size >= size and held[k].dtype == dtype and sys.getrefcount(held[k]) <= self._NOBODY:
                return held[k][:size]
        array = np.empty(size + size // 4, dtype)
        if array.nbytes <= self.most:
            held.append(array)
            del held[:-2]  # what a caller still holds, and the next
        return array[:size]
