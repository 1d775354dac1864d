"""Which weight of a kernel joins which two places: the one table that engines, gradients and Brian 2 read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError


@dataclass(frozen=True, eq=False)
class Patches:
    """The taps of a kernel through which every place of the source acts, and the places of the target that they meet.

    Attributes
    ----------
    ptr : (n_sources + 1,) array of int32
        Source place s has the entries ``ptr[s] ... ptr[s + 1]``.
    taps, places : (n_entries,) arrays of int32
        Tap ``row*width + column`` of the kernel, and place of the target (rows, then columns).
    shape : (height, width)
        Of the target.
    """

    ptr: np.ndarray
    taps: np.ndarray
    places: np.ndarray
    shape: tuple[int, int]

    @property
    def sources(self) -> np.ndarray:
        """Source place of every entry."""
        return np.repeat(np.arange(len(self.ptr) - 1), np.diff(self.ptr))


def patches(height: int, width: int, kernel: tuple[int, int], stride: int = 1, padding: int = 0) -> Patches:
    """Patches of a cross-correlation over ``height x width`` places, as in the usual deep-learning libraries.

    Raises
    ------
    NetworkError
        If nothing is left of the source.
    """
    kh, kw = kernel
    rows, columns = (height + 2 * padding - kh) // stride + 1, (width + 2 * padding - kw) // stride + 1
    if min(kh, kw, stride) < 1 or padding < 0 or rows < 1 or columns < 1:
        raise NetworkError(
            f"A {kh}x{kw} kernel with stride {stride} and padding {padding} leaves nothing of {height}x{width} places."
        )
    y, x, dy, dx = np.ix_(*map(np.arange, (rows, columns, kh, kw)))
    in_y, in_x = y * stride + dy - padding, x * stride + dx - padding
    inside = (in_y >= 0) & (in_y < height) & (in_x >= 0) & (in_x < width)
    source, place, tap = (
        np.broadcast_to(index, inside.shape)[inside] for index in (in_y * width + in_x, y * columns + x, dy * kw + dx)
    )
    order = np.lexsort((place, source))
    ptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=height * width))])
    return Patches(ptr.astype(np.int32), tap[order].astype(np.int32), place[order].astype(np.int32), (rows, columns))


def pooled(height: int, width: int, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Window (height*width,) that every place falls into, and rows and columns of the windows.

    Windows are ``size x size`` and do not overlap; places that fill none are -1.
    """
    rows, columns = height // size, width // size
    if size < 1 or rows < 1 or columns < 1:
        raise NetworkError(f"Windows of {size}x{size} leave nothing of {height}x{width} places.")
    y, x = np.indices((height, width)) // size
    window = np.where((y < rows) & (x < columns), y * columns + x, -1)
    return window.ravel().astype(np.int32), (rows, columns)
